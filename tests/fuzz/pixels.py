"""Images and masks whose bytes are damaged, whose headers lie, or which are of other kinds than their names say."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from tasks.data.files.images import check_pixels, read_image
from tasks.data.files.mask_files import ColourMasks, IndexMasks
from tests.fuzz.campaign import Surface, check
from tests.fuzz.mutations import damaged, maybe_damaged

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MODES = ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16")
MASK_COLOURS = {"background": [0, 0, 0], "a": [255, 0, 0], "b": [0, 255, 0]}
COLOURS = np.array(list(MASK_COLOURS.values()), np.uint8)
BOMB = zlib.compress(bytes(10**8))
"""A hundred megabytes in a hundred kilobytes."""
CLOSE = 12.0
"""Mean difference of two JPEG decoders, or of two ways to lay 16 bits on 8, at most."""


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def valid_images(_: Path) -> dict[str, bytes]:
    """Every format in every mode that it takes."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8)).resize((23, 17), Image.Resampling.BILINEAR)
    found = {}
    for kind in FORMATS:
        for mode in MODES:
            try:
                found[f"{kind} {mode}"] = encoded(smooth.convert("I" if mode == "I;16" else mode), kind)
            except (OSError, ValueError, KeyError):
                continue  # the format has no such mode
    found["JPEG turned"] = encoded(
        smooth, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0"
    )
    found["JPEG progressive"] = encoded(smooth, "JPEG", progressive=True)
    found["GIF moving"] = encoded(smooth, "GIF", save_all=True, append_images=[smooth.rotate(90)])
    return found


def lying_png(rng: Random) -> bytes:
    """A PNG whose header, with a right checksum, says another size, depth or kind than its pixels have."""
    width, height = (rng.choice((0, 1, 17, 23, 2**14, 2**20, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    depth, colour = rng.choice((1, 2, 4, 8, 16, 3, 0)), rng.choice((0, 2, 3, 4, 6, 1, 255))
    pixels = BOMB if rng.random() < 0.05 else zlib.compress(bytes(rng.choice((0, 10, 17 * 70, 10**6))))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, rng.choice((0, 1))))]
    if rng.random() < 0.3:
        said = rng.choice((b"", b"x\0\0", b"x\0\0" + BOMB, rng.randbytes(300)))
        chunks.append((rng.choice((b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"eXIf")), said))
    if rng.random() < 0.5:
        chunks.append((b"PLTE", rng.randbytes(rng.choice((0, 3, 30, 768)))))
    chunks += [(b"IDAT", pixels)] * rng.choice((0, 1, 1, 2)) + [(b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def hostile_image(rng: Random, valid: dict[str, bytes]) -> bytes:
    kind = rng.random()
    if kind < 0.2:
        return lying_png(rng)
    if kind < 0.25:
        return rng.choice(
            (b"", b"\xff\xd8", b"<svg/>", b"<html>log in</html>", b"\x89PNG\r\n\x1a\n", rng.randbytes(200))
        )
    data = rng.choice(list(valid.values()))
    if kind < 0.3:
        return data[: rng.randrange(len(data))]
    if kind < 0.35:
        return data + rng.choice((b"\0", rng.randbytes(50), data))
    return maybe_damaged(rng, data, 0.8)


def try_image(rng: Random, folder: Path, valid: dict[str, bytes]) -> None:
    data = hostile_image(rng, valid)
    file = folder / f"x.{rng.choice(('jpg', 'png', 'webp', 'tif'))}"
    file.write_bytes(data)
    pixels = read_image(file)
    check(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0, pixels.shape)
    check_pixels(file, pixels.shape[:2])
    _as_pillow(data, pixels)


def _as_pillow(data: bytes, pixels: Any) -> None:
    """That an image has the pixels that Pillow finds in it, damaged or not, unless Pillow refuses it."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        return
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "I", "I;16", "CMYK", "P"):
        check(pixels.shape[:2] == (image.height, image.width), pixels.shape)
        return
    theirs = np.array(image.convert("RGB"), np.float32)
    check(theirs.shape == pixels.shape, (theirs.shape, pixels.shape))
    check(float(np.abs(theirs - pixels).mean()) < CLOSE, "other pixels than Pillow's")


def valid_masks(_: Path) -> list[bytes]:
    rng = np.random.default_rng(1)
    indices = rng.integers(0, 3, (13, 9), np.uint8)
    indices[0, 0] = 255
    palette = Image.fromarray(indices, "L").convert("P")
    palette.putdata(indices.ravel().tolist())
    palette.putpalette(rng.integers(0, 256, 768).tolist())
    coloured = Image.fromarray(COLOURS[indices % 3])
    grey = Image.fromarray(indices)
    return [
        *(encoded(one, "PNG") for one in (palette, coloured, grey, grey.convert("1"), coloured.convert("RGBA"))),
        encoded(coloured, "BMP"), encoded(grey, "TIFF"), encoded(coloured, "JPEG"), encoded(palette, "GIF"),
    ]  # fmt: skip


def try_mask(rng: Random, folder: Path, valid: list[bytes]) -> None:
    data = lying_png(rng) if rng.random() < 0.2 else rng.choice(valid)
    data = maybe_damaged(rng, data, 0.7)
    file = folder / "mask.png"
    file.write_bytes(data)
    if rng.random() < 0.5:
        mask = IndexMasks(["background", "a", "b"])(file)
        check(bool(np.isin(mask, (0, 1, 2, 255)).all()), np.unique(mask))
        image = Image.open(file)
        if image.mode in ("P", "L") and data in valid:
            check(bool((np.array(image) == mask).all()), "other indices than Pillow's")
    else:
        mask = ColourMasks(MASK_COLOURS, [[255, 255, 255]])(file)
        check(bool(np.isin(mask, (0, 1, 2, 255)).all()), np.unique(mask))
        colours = np.array(Image.open(file).convert("RGB"))
        known = mask < 3
        check(bool((COLOURS[mask[known]] == colours[known]).all()), "other colours than Pillow's")


def valid_jpegs(_: Path) -> dict[str, bytes]:
    return {name: data for name, data in valid_images(_).items() if name.startswith("JPEG")}


def try_jpeg(rng: Random, folder: Path, valid: dict[str, bytes]) -> None:
    """Damage in JPEGs, which other decoders fill with grey without a word."""
    data = damaged(rng, rng.choice(list(valid.values())), most=2)
    file = folder / "x.jpg"
    file.write_bytes(data)
    shrink = rng.choice((1, 2, 4, 8))
    pixels = read_image(file, shrink=shrink)
    check(pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.size > 0, pixels.shape)
    if shrink == 1:
        _as_pillow(data, pixels)


SURFACES = (
    Surface("images", valid_images, try_image, native=True),
    Surface("JPEGs", valid_jpegs, try_jpeg, native=True),
    Surface("masks", valid_masks, try_mask, native=True),
)
