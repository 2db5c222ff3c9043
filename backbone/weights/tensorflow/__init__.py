"""Files that TensorFlow wrote, read without TensorFlow: frozen graphs, checkpoints, SavedModels' variables, `.tflite`.

The readers are imported when such a file is read: they need NumPy, and TensorBoard or LiteRT for one kind each.
"""
