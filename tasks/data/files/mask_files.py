"""Mask files as arrays of class indices. Shapes: H W pixels, K classes."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from backbone.errors import InputError
from heads.structures import VOID
from tasks.data.files.contents import read_bytes
from tasks.data.files.images import JPEG_MAGIC, check_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pixels: TypeAlias = "NDArray[np.uint8]"

MaskReader: TypeAlias = "Callable[[Path], Pixels]"
"""Reader of a file as (H, W) uint8: the class of every pixel, `VOID` where there is none."""

REMEDY = "replace the file or remove its image from the data set"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH = 24
"""Where a PNG states its bits per sample."""
ROWS = 256
"""Rows of a mask whose colours are looked up at once."""
STRETCH = {2: 85, 4: 17}
"""Factor by the bits of a grey PNG: what Pillow multiplies its values by, so that they span 0 .. 255."""


class IndexMasks:
    """Masks whose values are class indices: palette images, whose colours do not matter, or grey ones of up to 8 bits.

    Args:
        names: of the classes, in the order of their indices.
        void: values besides 255 of pixels that belong to no class.
        binary: 255 is the second class, and anything else the first.

    Raises:
        InputError: a value of `void` is that of a class, or not within 0 .. 255.
    """

    def __init__(self, names: Sequence[str], void: Sequence[int] = (), *, binary: bool = False) -> None:
        self.names = tuple(names)
        self.binary = binary
        for value in void:
            if not len(self.names) <= value <= VOID:
                raise InputError(
                    f"data.ignore_index={list(void)}: {value} is not allowed; {len(self.names)} .. {VOID} are, behind"
                    f" the classes 0 .. {len(self.names) - 1} ({', '.join(self.names)})"
                )
        self._is_known = np.arange(VOID + 1) < len(self.names)
        self._is_known[[VOID, *void]] = True
        self._void = tuple(void)

    def __call__(self, path: Path) -> Pixels:
        """(H, W) uint8.

        Raises:
            InputError: the file is absent, broken or of several channels, or a value is neither a class nor void.
        """
        image, depth = _open(path)
        if image.mode in ("RGB", "RGBA"):
            image = _grey_in_colour(image) or image
        if image.mode.startswith("I;16"):
            return self._checked(path, np.array(image))
        if image.mode not in ("P", "L", "1"):
            raise InputError(
                f"{path}: is an image of mode {image.mode}, but class indices are expected, one value of 8 bits for"
                " each pixel; write it as a grey or palette PNG, or name its colours by data=masks"
                " data.colours={class: [red, green, blue]}"
            )
        mask = np.array(image, dtype=np.uint8)
        if image.mode == "L" and depth in STRETCH:
            mask //= STRETCH[depth]
        if self.binary:
            mask = (mask == VOID).astype(np.uint8)
        return self._checked(path, mask)

    def _checked(self, path: Path, mask: NDArray[Any]) -> Pixels:
        """The mask as uint8, if all of its values are classes or void."""
        known = (mask <= VOID) & self._is_known[np.minimum(mask, VOID)]
        if not known.all():
            values, counts = np.unique(mask[~known], return_counts=True)
            more = f" and {len(values) - 1} more values that are no class" if len(values) > 1 else ""
            if values.tolist() == [len(self.names)] and mask.min() > 0:
                raise InputError(
                    f"{path}: its values are {mask.min()} .. {values[0]}, so the classes look counted from 1, and here"
                    f" they count from 0: take 1 from every value, or name a class for 0 before"
                    f" {', '.join(self.names)} in data.classes"
                )
            raise InputError(
                f"{path}: {counts[0]} pixels have the value {values[0]}{more}; allowed are 0 .. {len(self.names) - 1}"
                f" ({', '.join(self.names)}) and {VOID} for void: correct the mask or the list of classes, or say"
                f" data=masks data.ignore_index=[{','.join(map(str, [*self._void, values[0]]))}]"
            )
        pixels: Pixels = mask.astype(np.uint8, copy=False)
        for value in self._void:
            pixels[pixels == value] = VOID
        return pixels


def _grey_in_colour(image: Image.Image) -> Image.Image | None:
    """The red channel of an image whose channels are alike and opaque; None if it is none."""
    channels = image.split()
    alike = all(channel.tobytes() == channels[0].tobytes() for channel in channels[1:3])
    return channels[0] if alike and (len(channels) == 3 or channels[3].getextrema() == (255, 255)) else None


class ColourMasks:
    """Masks whose classes are colours, however the file stores them (RGB, palette, grey).

    Args:
        colours: red, green and blue of every class by its name, in the order of the indices.
        void: colours of pixels that belong to no class.

    Raises:
        InputError: a colour is not three whole numbers 0 .. 255, or is given twice.
    """

    def __init__(self, colours: Mapping[str, Sequence[int]], void: Sequence[Sequence[int]] = ()) -> None:
        meant = [*colours.items(), *(("void", colour) for colour in void)]
        owners: dict[int, str] = {}
        for name, colour in meant:
            code = _code(name, colour)
            if code in owners:
                raise InputError(f"data.colours: {name} and {owners[code]} have the same colour {list(colour)}")
            owners[code] = name
        indices = [*range(len(colours)), *[VOID] * len(void)]
        self._codes = np.array(sorted(owners), dtype=np.uint32)
        self._indices = np.array(indices, dtype=np.uint8)[np.argsort(list(owners))]
        self._allowed = ", ".join(f"{name} {list(colour)}" for name, colour in meant)

    def __call__(self, path: Path) -> Pixels:
        """(H, W) uint8.

        Raises:
            InputError: the file is absent, broken or partly transparent, or has a colour that is not in the map.
        """
        image, _ = _open(path)
        if image.mode.startswith(("I", "F")):
            raise InputError(f"{path}: is an image of mode {image.mode}; write it as RGB with 8 bits per colour")
        if image.has_transparency_data and _is_transparent(image):
            raise InputError(f"{path}: has transparent pixels, whose class is unknown; write it as RGB")
        colours = np.asarray(image.convert("RGB"))
        mask = np.empty(colours.shape[:2], dtype=np.uint8)
        unknown: Counter[int] = Counter()
        for start in range(0, len(mask), ROWS):  # what is computed with is sixteen times as large as the mask
            red, green, blue = np.moveaxis(colours[start : start + ROWS].astype(np.uint32), 2, 0)
            codes = red << 16 | green << 8 | blue
            places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            is_unknown = self._codes[places] != codes
            if is_unknown.any():
                unknown.update(codes[is_unknown].tolist())
            mask[start : start + ROWS] = self._indices[places]
        if unknown:
            code, count = next(iter(unknown.items()))
            colour = [code >> 16, code >> 8 & 255, code & 255]
            raise InputError(
                f"{path}: {count} pixels have the colour {colour}, {unknown.total()} in all have one that is not in"
                f" the map; allowed are {self._allowed}: correct the mask, or add the colour to data.colours or"
                " data.void_colours"
            )
        return mask


def _code(name: str, colour: Sequence[int]) -> int:
    parts = list(colour) if isinstance(colour, list | tuple) else []
    if len(parts) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in parts):
        raise InputError(f"data.colours: {name} has the colour {colour}; it must be three numbers 0 .. 255")
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _is_transparent(image: Image.Image) -> bool:
    return bool((np.asarray(image.convert("RGBA").getchannel("A")) < 255).any())


def _open(path: Path) -> tuple[Image.Image, int | None]:
    """The decoded image, and the bits per sample where it is a PNG."""
    data = read_bytes(path, REMEDY)
    if data.startswith(JPEG_MAGIC):
        raise InputError(f"{path}: is a JPEG, whose compression changes values; write masks as PNG from their source")
    try:
        with warnings.catch_warnings(action="ignore"):
            image = Image.open(io.BytesIO(data))
            check_pixels(path, (image.height, image.width))
            image.load()
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: too large to be opened ({error}); make it smaller") from None
    except (OSError, SyntaxError, ValueError):
        raise InputError(f"{path}: cannot be read as a mask (not a whole image); {REMEDY}") from None
    return image, data[PNG_DEPTH] if data.startswith(PNG_MAGIC) else None
