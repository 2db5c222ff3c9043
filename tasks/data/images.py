"""Image files as arrays: strict about broken files, and turned the way a viewer would show them.

OpenCV completes a truncated JPEG with grey and says nothing, so JPEG goes through simplejpeg, which refuses it.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import simplejpeg

from backbone.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

JPEG_MAGIC = b"\xff\xd8\xff"
ORIENTATION_TAG = 0x0112
REMEDY = "replace the file or remove its entry from the annotations"

STUFFING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
MAX_STUFFING = 16
"""Bytes after the last pixel that some cameras write; the picture itself is whole."""


def read_image(path: str | Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The picture as a viewer shows it.

    Grey and palette images become RGB, CMYK is converted, transparent pixels lie on white, 16 bits become 8.
    The EXIF orientation is applied, unless the annotation's size says that it was made on the unrotated picture.

    Args:
        path: of the file; what it is, is decided by its contents and not by its suffix.
        size: height and width in pixels that the annotation states; None accepts any.

    Returns:
        (H, W, 3) uint8, RGB, contiguous.

    Raises:
        InputError: the file is absent, broken, truncated, of an unknown format, or has another size.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from error
    image = _decode_jpeg(path, data) if data.startswith(JPEG_MAGIC) else _decode_other(path, data)
    upright = _turn(image, exif_orientation(data))
    if size is None or upright.shape[:2] == tuple(size):
        return np.ascontiguousarray(upright)
    if image.shape[:2] == tuple(size):
        return np.ascontiguousarray(image)
    raise InputError(
        f"{path}: is {_side_by_side(upright.shape)} pixels (width x height) but annotated as"
        f" {_side_by_side(size)}; put the file there that was annotated, or correct the annotation"
    )


def read_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels as `read_image` would give them, for annotations that do not state them."""
    return read_image(path).shape[:2]


def exif_orientation(data: bytes) -> int:
    """The orientation 1 .. 8 that is written in the file, 1 (upright) if none is or it cannot be understood."""
    if b"Exif" not in data[: 1 << 16] and b"eXIf" not in data:
        return 1
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as picture:
            value = picture.getexif().get(ORIENTATION_TAG, 1)
    except (OSError, SyntaxError, ValueError):
        return 1
    return value if value in range(1, 9) else 1


def _decode_jpeg(path: Path, data: bytes) -> Pixels:
    try:
        _, _, colourspace, _ = simplejpeg.decode_jpeg_header(data)
        wanted = "CMYK" if colourspace in ("CMYK", "YCCK") else "RGB"
        image = _decode_strictly(data, wanted)
    except ValueError as error:
        raise InputError(f"{path}: broken JPEG ({error}); {REMEDY}") from error
    if wanted == "RGB":
        return image
    # Adobe writes the complement of the ink, so what is left of the light multiplies.
    light = image.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _decode_strictly(data: bytes, colourspace: str) -> Pixels:
    try:
        image: Pixels = simplejpeg.decode_jpeg(data, colourspace, strict=True)
    except ValueError as error:
        stuffing = STUFFING.search(str(error))
        if stuffing is None or int(stuffing[1]) > MAX_STUFFING:
            raise
        image = simplejpeg.decode_jpeg(data, colourspace, strict=False)
    return image


def _decode_other(path: Path, data: bytes) -> Pixels:
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        image = None
    finally:
        logging.setLogLevel(before)
    if image is None:
        raise InputError(f"{path}: is broken or in no known image format; {REMEDY}")
    return _as_rgb(path, image)


def _as_rgb(path: Path, image: NDArray[Any]) -> Pixels:
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"{path}: has {image.dtype} pixels; convert it to 8 or 16 bits without sign")
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    colour, alpha = image[..., 2::-1].astype(np.uint16), image[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _turn(image: Pixels, orientation: int) -> Pixels:
    """Undo what EXIF says was done: 2 and 4 mirror, 3 turns round, 5 to 8 swap the sides."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image


def _side_by_side(size: tuple[int, ...]) -> str:
    return f"{size[1]} x {size[0]}"
