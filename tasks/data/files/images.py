"""Image files as arrays: strict about broken files, and turned the way a viewer would show them.

OpenCV completes a truncated JPEG with grey and says nothing, so JPEG goes through simplejpeg, which refuses it.
"""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np
import simplejpeg

from backbone.errors import InputError
from tasks.data.config import MAX_MEGAPIXELS
from tasks.data.files import contents

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels: TypeAlias = NDArray[np.uint8]

JPEG_MAGIC = b"\xff\xd8\xff"
TIFF_MAGICS = (b"II*\0", b"MM\0*")
AVIF_MAGICS = (b"ftypavif", b"ftypavis", b"ftypmif1")
EXIF_MAGIC = b"Exif\0\0"
ORIENTATION_TAG = 0x0112
SEGMENT, START_OF_SCAN, END_OF_IMAGE = 0xFF, 0xDA, 0xD9
"""Bytes of JPEG: before each marker, of the marker that pixels follow, of the last one."""
REMEDY = "replace the file or take it out of the data set"
MEGAPIXEL = 1_000_000

STUFFING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
PNM = re.compile(rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d{1,9})")
"""Header of a portable pixmap or graymap, to the value of white, which OpenCV passes over."""
MAX_STUFFING = 16
"""Bytes after the last pixel that some cameras write; the image itself is whole."""


def read_image(
    path: str | Path, size: tuple[int, int] | None = None, annotation: Path | None = None, shrink: int = 1
) -> NDArray[np.uint8]:
    """The image as a viewer shows it.

    Grey and palette images become RGB, CMYK is converted, transparent pixels lie on white, 16 bits become 8.
    The EXIF orientation is applied, unless the annotation's size says that it was made on the unrotated image.

    Args:
        path: of the file; what it is, is decided by its contents and not by its suffix.
        size: height and width in pixels that the annotation states; None accepts any.
        annotation: the file that states it, for the message.
        shrink: 1, 2, 4 or 8; the sides of a JPEG come divided by it, rounded up. Its faults are found all the same.

    Returns:
        (H, W, 3) uint8, RGB, contiguous.

    Raises:
        InputError: the file is absent, broken, truncated, of an unknown format, too large, or has another size.
    """
    return decode_image(path, read_bytes(path), size, annotation, shrink)


def decode_image(
    path: str | Path, data: bytes, size: tuple[int, int] | None = None, annotation: Path | None = None, shrink: int = 1
) -> NDArray[np.uint8]:
    """Read as `read_image` does, from the contents of a file; `path` is for messages."""
    stored = stored_size(path, data)
    check_pixels(path, stored)
    image = decode_stored(path, data, shrink)
    orientation = exif_orientation(data)
    upright = stored[::-1] if orientation >= 5 else stored
    if size is None or upright == tuple(size):
        return np.ascontiguousarray(turn(image, orientation))
    if stored == tuple(size):
        return np.ascontiguousarray(image)
    stated_in = f" in {annotation}" if annotation else ""
    raise InputError(
        f"{path}: is {_side_by_side(upright)} pixels (width x height) but annotated as"
        f" {_side_by_side(size)}{stated_in}; put the file there that was annotated, or correct the annotation"
    )


def read_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels as `read_image` would give them, for annotations that do not state them."""
    data = read_bytes(path)
    stored = stored_size(path, data)
    check_pixels(path, stored)
    return stored[::-1] if exif_orientation(data) >= 5 else stored


def read_bytes(path: str | Path) -> bytes:
    """Contents of an image file; an InputError names it if it cannot be read or is no regular file."""
    return contents.read_bytes(path, REMEDY)


def check_pixels(name: str | Path, size: tuple[int, int], most: float | None = None) -> None:
    """See that an image is not too large to be decoded.

    Args:
        name: of the file, for messages.
        size: height and width in pixels, from its header.
        most: millions of pixels, where data.max_megapixels says it; None: `MAX_MEGAPIXELS`.

    Raises:
        InputError: it has more pixels.
    """
    height, width = size
    if height * width > (MAX_MEGAPIXELS if most is None else most) * MEGAPIXEL:
        allowed = f"at most {MAX_MEGAPIXELS} are read; make the image smaller"
        if most is not None:
            allowed = f"data.max_megapixels={most:g} are allowed; make the image smaller or raise the limit"
        raise InputError(
            f"{name}: has {width} x {height} pixels, {height * width / MEGAPIXEL:.4g} megapixels, and {allowed}"
        )


def stored_size(name: str | Path, data: bytes) -> tuple[int, int]:
    """Height and width in pixels before the EXIF orientation is applied, from the header alone.

    Args:
        name: of the file, for messages.
        data: its contents.

    Raises:
        InputError: the header is broken or of an unknown format, or, in other formats than JPEG, states more pixels
            than Pillow opens.
    """
    if data.startswith(JPEG_MAGIC):
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise InputError(f"{name}: broken JPEG ({error}); {REMEDY}") from error
        return int(height), int(width)
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            return image.height, image.width
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: too large to be opened ({error}); make it smaller") from error
    except (OSError, SyntaxError, ValueError, RuntimeError) as error:  # the last of AVIF
        if data.startswith(TIFF_MAGICS) and (size := _tiff_size(data)) is not None:
            return size
        raise InputError(f"{name}: {_unknown(data)}; {REMEDY}") from error


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """Height and width of a TIFF of pixels that Pillow does not know, such as real numbers; None if it is broken."""
    from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, ImageFileDirectory_v2

    try:
        with warnings.catch_warnings(action="ignore"):
            directory = ImageFileDirectory_v2(data[:8])
            file = io.BytesIO(data)
            file.seek(directory.next)
            directory.load(file)
            return int(directory[IMAGELENGTH]), int(directory[IMAGEWIDTH])
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return None


def exif_orientation(data: bytes) -> int:
    """The orientation 1 .. 8 that is written in the file, 1 (upright) if none is or it cannot be understood."""
    jpeg = data.startswith(JPEG_MAGIC)
    start = _exif_start(data) if jpeg else -1
    if start < 0 and (jpeg or not _may_have_exif(data)):
        return 1
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"):
            if jpeg:
                length = int.from_bytes(data[start - 2 : start], "big") - 2
                exif = Image.Exif()
                exif.load(data[start : start + length])
            else:
                with Image.open(io.BytesIO(data)) as image:
                    exif = image.getexif()
            value = exif.get(ORIENTATION_TAG, 1)
    except (OSError, SyntaxError, ValueError, RuntimeError, struct.error):
        return 1
    return value if value in range(1, 9) else 1


def _exif_start(data: bytes) -> int:
    """Where the EXIF data of a JPEG begin; -1: it has none before its pixels, or its segments cannot be followed.

    From segment to segment: to look through all of the first bytes would take longer than to read the file.
    """
    place = 2
    while place + 4 <= len(data) and data[place] == SEGMENT and data[place + 1] not in (START_OF_SCAN, END_OF_IMAGE):
        if data[place + 1] == SEGMENT:  # padding
            place += 1
            continue
        if data.startswith(EXIF_MAGIC, place + 4):
            return place + 4
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return -1


def _may_have_exif(data: bytes) -> bool:
    """Whether a file that is no JPEG has what its format keeps EXIF in. OpenCV heeds that of TIFF."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return b"EXIF" in data
    return b"eXIf" in data or data[4:12] in AVIF_MAGICS


def decode_stored(name: str | Path, data: bytes, shrink: int = 1) -> Pixels:
    """The image as it is stored: the EXIF orientation is not applied.

    Args:
        name: of the file, for messages.
        data: its contents.
        shrink: 1, 2, 4 or 8; sides of a JPEG come divided by it, rounded up, for less work. Other formats come whole.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        InputError: the file is broken, truncated or of an unknown format.
    """
    return _decode_jpeg(name, data, shrink) if data.startswith(JPEG_MAGIC) else _decode_other(name, data)


def _decode_jpeg(name: str | Path, data: bytes, shrink: int) -> Pixels:
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
        wanted = "CMYK" if colourspace in ("CMYK", "YCCK") else "RGB"
        least = {"min_height": -(-height // shrink), "min_width": -(-width // shrink), "min_factor": shrink}
        image = _decode_strictly(data, wanted, least)
    except ValueError as error:
        raise InputError(f"{name}: broken JPEG ({error}); {REMEDY}") from error
    if wanted == "RGB":
        return image
    # Adobe writes the complement of the ink, so what is left of the light multiplies.
    light = image.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _decode_strictly(data: bytes, colourspace: str, least: dict[str, int]) -> Pixels:
    try:
        image: Pixels = simplejpeg.decode_jpeg(data, colourspace, strict=True, **least)
    except ValueError as error:
        stuffing = STUFFING.search(str(error))
        if stuffing is None or int(stuffing[1]) > MAX_STUFFING:
            raise
        image = simplejpeg.decode_jpeg(data, colourspace, strict=False, **least)
    return image


def _unknown(data: bytes) -> str:
    return "is broken or in no known image format" if data else "is an empty file"


def _decode_other(name: str | Path, data: bytes) -> Pixels:
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        image = None
    finally:
        logging.setLogLevel(before)
    if image is None:
        raise InputError(f"{name}: {_unknown(data)}; {REMEDY}")
    if (brightest := PNM.match(data)) and int(brightest[1]) not in (255, 65535):
        raise InputError(
            f"{name}: its white is {int(brightest[1])}; convert it to 8 or 16 bits, whose white is 255 or 65535"
        )
    return _as_rgb(name, image)


def _as_rgb(name: str | Path, image: NDArray[Any]) -> Pixels:
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if image.dtype != np.uint8:
        raise InputError(f"{name}: has {image.dtype} pixels; convert it to 8 or 16 bits without sign")
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    colour, alpha = image[..., 2::-1].astype(np.uint16), image[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def turn(image: Pixels, orientation: int) -> Pixels:
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


SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".avif",
        ".ppm",
        ".pgm",
        ".pbm",
    }
)
"""Endings, in lower case, of files that are taken for images."""


def is_image(name: str) -> bool:
    """Whether a name ends like an image's; what a file really is, its contents decide when it is read."""
    return os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122 - a million of them
