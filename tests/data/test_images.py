"""Image files: formats, orientation, and files that are broken. The oracle is Pillow, or the array that was written."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from backbone.errors import InputError
from tasks.data.files.images import read_image, read_size
from tests.data.builders import jpeg, picture

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    return picture(24, 36)


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_jpeg_is_rgb_whatever_its_suffix(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = tmp_path / "is_a_jpeg.png"
    path.write_bytes(jpeg(rgb))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(image.astype(int), rgb, atol=8)


def test_grey_jpeg_gets_three_channels(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    grey = Image.fromarray(rgb).convert("L")
    image = read_image(save(tmp_path / "grey.jpg", grey, quality=95))
    assert image.shape == (24, 36, 3)
    np.testing.assert_allclose(image.astype(int), np.asarray(grey)[..., None].repeat(3, 2), atol=6)


def test_cmyk_jpeg_equals_pillow(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = save(tmp_path / "cmyk.jpg", Image.fromarray(rgb).convert("CMYK"), quality=95)
    np.testing.assert_allclose(read_image(path).astype(int), np.asarray(Image.open(path).convert("RGB")), atol=1)
    np.testing.assert_allclose(read_image(path).astype(int), rgb, atol=12)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp"])
def test_lossless_formats_are_exact(tmp_path: Path, rgb: NDArray[np.uint8], suffix: str) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a.{suffix}", Image.fromarray(rgb), **options)), rgb)


def test_palette_and_bilevel_png(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    for mode in ("P", "1", "L"):
        picture_of_mode = Image.fromarray(rgb).convert(mode)
        image = read_image(save(tmp_path / f"{mode}.png", picture_of_mode))
        np.testing.assert_array_equal(image, np.asarray(picture_of_mode.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(tmp_path: Path, rgb: NDArray[np.uint8], mode: str) -> None:
    alpha = np.linspace(0, 255, 36).astype(np.uint8)[None].repeat(24, 0)
    layered = Image.fromarray(rgb).convert(mode)
    layered.putalpha(Image.fromarray(alpha))
    paper = Image.new("RGBA", layered.size, "white")
    paper.alpha_composite(layered.convert("RGBA"))
    image = read_image(save(tmp_path / "alpha.png", layered))
    np.testing.assert_allclose(image.astype(int), np.asarray(paper.convert("RGB")), atol=1)
    assert (image[:, 0] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_eight(tmp_path: Path, rgb: NDArray[np.uint8], channels: int) -> None:
    path = tmp_path / "deep.png"
    deep = rgb[..., :channels].astype(np.uint16) * 257
    cv2.imwrite(str(path), deep[..., ::-1])
    np.testing.assert_array_equal(read_image(path), np.broadcast_to(rgb[..., :channels], rgb.shape))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tiff"])
def test_orientation_as_pillow_turns_it(tmp_path: Path, rgb: NDArray[np.uint8], orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    more = {"webp": {"lossless": True}, "avif": {"quality": 100, "subsampling": "4:4:4"}}.get(suffix, {})
    path = save(tmp_path / f"turned.{suffix}", Image.fromarray(rgb), exif=exif, **more)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    np.testing.assert_allclose(read_image(path).astype(int), expected, atol=4)
    np.testing.assert_allclose(read_image(path, expected.shape[:2]).astype(int), expected, atol=4)
    assert read_size(path) == expected.shape[:2]


def test_annotated_before_turning_is_left_unturned(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path / "turned.png", Image.fromarray(rgb), exif=exif)
    assert read_image(path).shape == (36, 24, 3)
    np.testing.assert_array_equal(read_image(path, (24, 36)), rgb)


def test_nonsense_orientation_is_upright(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 77
    assert read_image(save(tmp_path / "a.png", Image.fromarray(rgb), exif=exif)).shape == (24, 36, 3)


def test_broken_exif_does_not_hide_the_picture(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    data = jpeg(rgb)
    segment = b"Exif\0\0MM\0*\xff\xff\xff\xff"
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    assert read_image(path).shape == (24, 36, 3)


def test_other_size_than_annotated_names_file_and_sizes(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = save(tmp_path / "a.png", Image.fromarray(rgb))
    with pytest.raises(InputError, match=r"a\.png: is 36 x 24 pixels .* annotated as 99 x 24; put the file there"):
        read_image(path, (24, 99))


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_jpeg_is_refused(tmp_path: Path, kept: float) -> None:
    data = jpeg(picture(64, 64))
    path = tmp_path / "half.jpg"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match=r"half\.jpg: broken JPEG \(Premature end.*; replace the file or"):
        read_image(path)


def test_jpeg_with_wrong_bytes_inside_is_refused(tmp_path: Path) -> None:
    data = bytearray(jpeg(picture(64, 64)))
    data[-60:-50] = b"\xff\xd9" * 5
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"bad\.jpg: broken JPEG"):
        read_image(path)


def test_bytes_after_the_last_pixel_do_no_harm(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    data = jpeg(rgb)
    clean, stuffed = tmp_path / "clean.jpg", tmp_path / "stuffed.jpg"
    clean.write_bytes(data)
    stuffed.write_bytes(data[:-2] + bytes(3) + data[-2:])
    np.testing.assert_array_equal(read_image(stuffed), read_image(clean))
    stuffed.write_bytes(data[:-2] + bytes(300) + data[-2:])
    with pytest.raises(InputError, match="extraneous bytes"):
        read_image(stuffed)


@pytest.mark.parametrize("fmt", ["PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_truncated_files_of_other_formats_are_refused(tmp_path: Path, rgb: NDArray[np.uint8], fmt: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, fmt)
    path = tmp_path / "half"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(InputError, match="half: is broken or in no known image format; replace the file"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"\xff\xd8\xff"])
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "page.jpg"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"page\.jpg: (is broken or in no known|is an empty|broken JPEG).*; replace"):
        read_image(path)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jpg: cannot be read \(No such file"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path)


def test_pixels_of_other_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    cv2.imwrite(str(path), np.zeros((4, 4, 3), dtype=np.float32))
    with pytest.raises(InputError, match=r"float\.tiff: has float32 pixels; convert it"):
        read_image(path)


@pytest.mark.parametrize("header", [b"P6\n2 1\n55\n", b"P6 # a\n2\t1 # b\n#\n055\n"])
def test_a_pixmap_whose_white_is_no_255(tmp_path: Path, header: bytes) -> None:
    """OpenCV takes its values as they are: four times too dark."""
    path = tmp_path / "x.ppm"
    path.write_bytes(header + bytes([55, 55, 55, 0, 11, 22]))
    with pytest.raises(InputError, match=r"x\.ppm: its white is 55; convert it to 8 or 16 bits"):
        read_image(path)
    path.write_bytes(header.replace(b"55", b"255").replace(b"0255", b"255") + bytes([55, 55, 55, 0, 11, 22]))
    np.testing.assert_array_equal(read_image(path), [[[55, 55, 55], [0, 11, 22]]])


def test_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), np.array([[[30, 20, 10]]], dtype=np.uint8))
    np.testing.assert_array_equal(read_image(path, (1, 1)), [[[10, 20, 30]]])
