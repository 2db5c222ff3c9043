"""Which images look the same. The hash is checked by hand, the search against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from tasks.data.files.images import decode_stored
from tasks.data.fingerprint import MAX_BITS, THUMBNAIL, difference_hash, same_images, thumbnail
from tests.data.builders import jpeg, picture


def test_hash_by_hand() -> None:
    rising = np.tile(np.arange(0, 90, 10, dtype=np.uint8), (8, 1))
    assert difference_hash(rising) == 2**64 - 1
    assert difference_hash(rising[:, ::-1].copy()) == 0
    one = np.zeros((8, 9), np.uint8)
    one[0, 1] = 200  # darker than its right neighbour at the first pair only
    assert difference_hash(one) == 1 << 63
    assert difference_hash(np.repeat(np.repeat(one, 4, 0), 4, 1)) == 1 << 63


def test_pictures_and_their_copies() -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8) for seed in range(20)]
    pictures = [np.repeat(np.repeat(small, 40, 0), 40, 1) for small in pictures]
    copies = [
        decode_stored("", simplejpeg.encode_jpeg(pictures[3], quality=30)),
        decode_stored("", jpeg(pictures[3]), shrink=8),
        np.ascontiguousarray(pictures[7][::2, ::2]),
        (pictures[11] * 0.9 + 20).astype(np.uint8),
    ]
    every = [*pictures, *copies]
    hashes = np.array([difference_hash(image.mean(axis=2).astype(np.uint8)) for image in every], dtype=np.uint64)
    thumbnails = np.stack([thumbnail(image) for image in every])
    assert same_images(hashes, thumbnails) == [[3, 20, 21], [7, 22], [11, 23]]


def test_search_finds_what_all_pairs_find() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 300, dtype=np.uint64)
    bits = [rng.choice(64, count, replace=False) for count in rng.integers(0, 4, 100)]
    near = [hashes[i] ^ np.uint64(sum(1 << int(bit) for bit in flipped)) for i, flipped in enumerate(bits)]
    every = np.concatenate([hashes, np.array(near, dtype=np.uint64)])
    same = np.zeros((400, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    same[:, ::2] = 100
    pairs = [[i, j] for i in range(400) for j in range(i + 1, 400) if int(every[i] ^ every[j]).bit_count() <= MAX_BITS]
    assert pairs == [[i, 300 + i] for i in range(100)]
    assert same_images(every, same) == pairs


@pytest.mark.parametrize("count", [0, 1, 5])
def test_flat_pictures_are_not_compared(count: int) -> None:
    thumbnails = np.full((count, THUMBNAIL, THUMBNAIL, 3), 255, np.uint8)
    assert same_images(np.zeros(count, np.uint64), thumbnails) == []


def test_equal_hash_other_picture() -> None:
    image = picture(80, 80)
    thumbnails = np.stack([thumbnail(image), thumbnail(255 - image)])
    assert same_images(np.zeros(2, np.uint64), thumbnails) == []
