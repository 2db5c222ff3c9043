"""Crops of images with one class. The oracles are torchvision's transforms, Pillow, and arithmetic by hand."""

from __future__ import annotations

import io
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from backbone.errors import InputError
from tasks.data.files.encoded import EncodedImage, EncodedSample, Window
from tasks.data.sample import Sample
from tasks.data.transforms.colour import ColourJitter, adjust_brightness, adjust_contrast, adjust_saturation, turn_hue
from tasks.data.transforms.config import Interpolation
from tasks.data.transforms.imagenet import CentralPart, CentreCrop, RandomCrop, draw_window
from tasks.data.transforms.resizing import resize
from tests.data.builders import jpeg, picture
from tests.data.builders import sample as sample_with_boxes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """Smooth colours under fine noise, so that a filter which is too narrow shows."""
    noise = np.random.default_rng(1).normal(0, 20, (height, width, 3))
    return np.clip(picture(height, width) + noise, 0, 255).astype(np.uint8)


def plain(image: NDArray[np.uint8]) -> Sample:
    return Sample(image=image, image_id=7, size=image.shape[:2], class_index=3)


def encoded(data: bytes, limit: float = 90) -> EncodedSample:
    return EncodedSample(EncodedImage("a.jpg", data, limit), image_id=7, class_index=3)


def saved(image: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(50, 60), (300, 200), (224, 224), (1, 1), (1, 500), (97, 224), (400, 100)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_resize_is_pillows(size: tuple[int, int], name: str) -> None:
    image = photograph(*size)
    expected = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling[name.upper()]))
    result = resize(image, (224, 224), Interpolation[name])
    assert result.flags["C_CONTIGUOUS"]
    difference = np.abs(result.astype(int) - expected)
    assert difference.mean() < 0.5
    assert difference.max() <= (1 if name == "bilinear" else 5)


def test_point_bilinear_looks_at_four_pixels() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[1::4, 1::4] = 200
    # Halved four times over, output pixel (0, 0) lies at 1.5: the mean of pixels 1 and 2 in both directions.
    assert (resize(image, (2, 2), Interpolation.point_bilinear) == 50).all()


@pytest.mark.parametrize("size", [(50, 60), (301, 200), (64, 64)])
def test_float_bilinear_is_torchs_without_a_filter(size: tuple[int, int]) -> None:
    """torchvision's detectors resize by it; nothing is rounded."""
    image = photograph(*size)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(pixels, (64, 64), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    result = resize(image, (64, 64), Interpolation.float_bilinear)
    np.testing.assert_allclose(np.asarray(result, dtype=np.float32), expected.numpy(), atol=2e-3)


@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (60, 224), (256, 256), (97, 31)])
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_centre_crop_is_torchvisions(shape: tuple[int, int], name: str) -> None:
    image = photograph(*shape)
    reference = v2.Compose([v2.Resize(64, v2.InterpolationMode[name.upper()]), v2.CenterCrop(56)])
    expected = np.asarray(reference(Image.fromarray(image)))
    result = CentreCrop(56, 64, Interpolation[name])(plain(image))
    assert np.abs(result.image.astype(int) - expected).max() <= (1 if name == "bilinear" else 5)
    assert (result.image_id, result.size, result.class_index) == (7, shape, 3)


def test_central_part_by_hand() -> None:
    image = photograph(64, 80)
    # An eighth of each side goes: 4 rows and 5 columns at every edge; 56 x 70 pixels stay.
    expected = cv2.resize(image[4:60, 5:75], (32, 32), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(CentralPart(32)(plain(image)).image, expected)


@pytest.mark.parametrize("transform", [CentreCrop(32, 40), CentralPart(32), RandomCrop(32)])
def test_one_pixel_and_very_long_pictures(transform: Callable[[Sample, int], Sample]) -> None:
    for shape in ((1, 1), (1, 20_000), (20_000, 1), (2, 3)):
        image = np.full((*shape, 3), 77, dtype=np.uint8)
        result = transform(plain(image), 5).image
        assert result.shape == (32, 32, 3)
        assert (result == 77).all()


def test_windows_are_distributed_as_torchvisions() -> None:
    height, width, count = 300, 400, 4000
    torch.manual_seed(0)
    rng = Random(0)
    crop = v2.RandomResizedCrop(10, SCALE, RATIO)
    like = torch.empty(3, height, width)
    theirs = [crop.make_params([like]) for _ in range(count)]
    expected = np.array([[w["top"], w["left"], w["height"], w["width"]] for w in theirs], dtype=float)
    windows = np.array([draw_window((height, width), SCALE, RATIO, rng) for _ in range(count)], dtype=float)
    assert (windows[:, :2] >= 0).all()
    assert (windows[:, :2] + windows[:, 2:] <= (height, width)).all()
    for ours, other in ((windows, expected), (windows[:, 3:] / windows[:, 2:3], expected[:, 3:] / expected[:, 2:3])):
        error = np.sqrt((ours.var(0) + other.var(0)) / count)
        assert (np.abs(ours.mean(0) - other.mean(0)) < 4 * error).all()
        np.testing.assert_allclose(ours.std(0), other.std(0), rtol=0.06)


@pytest.mark.parametrize("shape", [(10, 1000), (1000, 10), (1, 3)])
def test_window_of_a_long_picture_is_torchvisions(shape: tuple[int, int]) -> None:
    window = draw_window(shape, (1.0, 1.0), RATIO, Random(0))
    expected = v2.RandomResizedCrop(10, (1.0, 1.0), RATIO).make_params([torch.empty(3, *shape)])
    assert window == (expected["top"], expected["left"], expected["height"], expected["width"])


def test_random_crop_is_its_window_resized_by_pillow() -> None:
    image = photograph(120, 160)
    for seed in range(8):
        window = draw_window(image.shape, SCALE, RATIO, Random(seed))
        result = RandomCrop(48, flip=0)(plain(image), seed).image
        part = Image.fromarray(image[window.slices()])
        expected = np.asarray(part.resize((48, 48), Image.Resampling.BILINEAR))
        assert np.abs(result.astype(int) - expected).max() <= 1
        flipped = RandomCrop(48, flip=1)(plain(image), seed).image
        np.testing.assert_array_equal(flipped, result[:, ::-1])


def test_half_are_flipped() -> None:
    image = photograph(40, 40)
    flipped = [
        not np.array_equal(RandomCrop(32)(plain(image), seed).image, RandomCrop(32, flip=0)(plain(image), seed).image)
        for seed in range(200)
    ]
    assert 70 < sum(flipped) < 130


def crop_with_jitter(seed: int) -> bytes:
    return RandomCrop(32, jitter=ColourJitter())(plain(photograph(60, 50)), seed).image.tobytes()


def test_a_seed_gives_the_same_in_any_process() -> None:
    here = [crop_with_jitter(seed) for seed in range(4)]
    assert len(set(here)) == 4
    with ProcessPoolExecutor(1) as pool:
        assert list(pool.map(crop_with_jitter, range(4))) == here


@pytest.mark.parametrize("transform", [CentreCrop(32, 40), CentralPart(32), RandomCrop(32)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_encoded_gives_what_decoded_gives(transform: Any, kind: str) -> None:
    data = saved(photograph(50, 60), kind)
    whole = encoded(data).image.decode()
    for seed in range(4):
        result = transform.from_encoded(encoded(data), seed)
        np.testing.assert_array_equal(result.image, transform(plain(whole), seed).image)
        assert (result.image_id, result.size, result.class_index) == (7, (50, 60), 3)


@pytest.mark.parametrize(
    ("side", "least", "shrink"), [(64, 32, 2), (63, 32, 1), (128, 32, 4), (400, 32, 8), (64, 8, 8)]
)
def test_decoding_shrinks_as_far_as_the_window_allows(side: int, least: int, shrink: int) -> None:
    data = jpeg(picture(401, 403))
    part = encoded(data).image.decode(Window(0, 0, side, side), least)
    assert part.shape == (side // shrink, side // shrink, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_shrunk_window_of_a_turned_picture(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(200, 300), "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    image = encoded(data).image
    assert image.size == (upright.height, upright.width)
    window = Window(40, 24, 120, 160)
    part = image.decode(window, least=60)
    assert part.shape == (60, 80, 3)
    expected = upright.crop((24, 40, 184, 160)).resize((80, 60), Image.Resampling.BOX)
    np.testing.assert_allclose(part.astype(int), np.asarray(expected), atol=6)


def test_other_formats_come_whole() -> None:
    image = picture(64, 64)
    part = encoded(saved(image)).image.decode(Window(3, 4, 60, 50), least=8)
    np.testing.assert_array_equal(part, image[3:63, 4:54])


def test_cmyk_and_sixteen_bits() -> None:
    rgb = picture(64, 96)
    buffer = io.BytesIO()
    Image.fromarray(rgb).convert("CMYK").save(buffer, "JPEG", quality=95)
    small = np.asarray(Image.fromarray(rgb).resize((48, 32), Image.Resampling.BOX))
    shrunk = encoded(buffer.getvalue()).image.decode(Window(0, 0, 64, 96), least=32)
    np.testing.assert_allclose(shrunk.astype(int), small, atol=12)
    deep = cv2.imencode(".png", (rgb.astype(np.uint16) * 257)[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(encoded(deep).image.decode(), rgb)


def test_truncated_jpeg_is_refused_at_any_scale() -> None:
    data = jpeg(photograph(256, 256))
    image = encoded(data[: len(data) * 9 // 10]).image
    with pytest.raises(InputError, match=r"a\.jpg: broken JPEG \(Premature end.*; replace the file or"):
        image.decode(Window(0, 0, 256, 256), least=32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_too_many_pixels_are_refused_by_the_header(kind: str) -> None:
    data = saved(np.zeros((200, 500, 3), dtype=np.uint8), kind)
    assert encoded(data, limit=0.1).image.size == (200, 500)
    message = (
        r"a\.jpg: has 500 x 200 pixels, 0\.1 megapixels, and data\.max_megapixels=0\.09 are allowed;"
        " make the image smaller or raise the limit"
    )
    with pytest.raises(InputError, match=message):
        encoded(data, limit=0.09)


def test_ten_thousand_by_ten_thousand() -> None:
    buffer = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(buffer, "PNG")
    with pytest.raises(InputError, match="has 10000 x 10000 pixels, 100 megapixels"):
        encoded(buffer.getvalue())


def test_more_pixels_than_pillow_opens() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(buffer, "PNG")
    with pytest.raises(
        InputError, match=r"a\.jpg: too large to be opened \(Image size \(200000000 pixels\).*; make it"
    ):
        encoded(buffer.getvalue())


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused_by_the_header(data: bytes) -> None:
    with pytest.raises(InputError, match=r"a\.jpg: (is broken or in no known|is an empty file|broken JPEG).*; replace"):
        encoded(data)


@pytest.mark.parametrize("transform", [CentreCrop(32, 40), CentralPart(32), RandomCrop(32)])
def test_boxes_are_not_lost_silently(transform: Callable[[Sample, int], Sample]) -> None:
    with pytest.raises(
        InputError, match=r"image 0 has boxes or a mask, and this transform .*; choose the transform of"
    ):
        transform(sample_with_boxes(40, 40, [[1, 2, 30, 30]]), 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(scale=(0.0, 1.0)), r"scale=\[0\.0, 1\.0\]: must be two shares"),
        (lambda: RandomCrop(scale=(0.5, 0.2)), r"scale=\[0\.5, 0\.2\]: must be two shares"),
        (lambda: RandomCrop(ratio=(2.0, 1.0)), r"ratio=\[2\.0, 1\.0\]: must be two aspect ratios"),
        (lambda: RandomCrop(flip=1.5), r"flip=1\.5: must be a probability"),
        (lambda: CentreCrop(224, 200), "resize_size=200: must be at least image_size=224"),
        (lambda: CentralPart(fraction=0), "fraction=0: must be a share of the sides"),
    ],
)
def test_out_of_range(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, tvf.adjust_brightness),
        (adjust_contrast, tvf.adjust_contrast),
        (adjust_saturation, tvf.adjust_saturation),
    ],
)
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4])
def test_colours_are_torchvisions(ours: Any, theirs: Any, factor: float) -> None:
    image = photograph(40, 50)
    expected = theirs(torch.from_numpy(image).permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
    assert np.abs(ours(image, factor).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("share", [-0.1, 0.0, 0.05, 0.5])
def test_hue_is_torchvisions(share: float) -> None:
    image = picture(40, 50)
    expected = tvf.adjust_hue(torch.from_numpy(image).permute(2, 0, 1), share).permute(1, 2, 0).numpy()
    difference = np.abs(turn_hue(image, share).astype(int) - expected)
    assert difference.mean() < 2
    assert difference.max() <= 8


def test_no_jitter_is_the_identity() -> None:
    image = photograph(20, 20)
    kept = image.copy()
    np.testing.assert_array_equal(ColourJitter(0, 0, 0, 0)(image, Random(0)), image)
    assert len({ColourJitter()(image, Random(seed)).tobytes() for seed in range(10)}) == 10
    np.testing.assert_array_equal(image, kept)
