"""What a model sees in a picture: `python examples/predict_in_python.py model.safetensors photo.jpg drawn.png`."""

import sys

from PIL import Image

from tasks.predict import load, read_image

checkpoint, photo, drawn = sys.argv[1:]
model = load(checkpoint)
image = read_image(photo)  # (H, W, 3) uint8 RGB, upright; any such array will do
answer = model(image)
print(answer)  # answer["detection"].boxes_xyxy_px, .scores, .labels; answer.names["detection"]
Image.fromarray(model.draw(image, answer)).save(drawn)
