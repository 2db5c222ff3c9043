"""ONNX Runtime Web: the files of it that the page loads, from npm or from a folder. None of them is Trident's."""

from __future__ import annotations

import base64
import hashlib
import logging
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from backbone.errors import InputError

log = logging.getLogger(__name__)

PACKAGE = "onnxruntime-web@1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Checksum of the package, as npm writes it in a lock file."""
FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
"""On the processor, and on the graphics processor; a browser loads one of the two threes."""
TIMEOUT = 300
"""Seconds for npm."""
NOTICE = """ONNX Runtime Web, https://onnxruntime.ai
Copyright (c) Microsoft Corporation

MIT License

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
"""The licence that the package states and does not contain."""


def check_runtime(folder: str | None) -> None:
    """See that the runtime can be had, before anything expensive.

    Args:
        folder: `export.runtime`; None: npm is asked later.
    Raises:
        InputError: npm is not installed, or files are missing in the folder.
    """
    if folder is not None:
        _files_in(folder)
    elif shutil.which("npm") is None:
        raise InputError(
            f"export=web: needs npm to fetch {PACKAGE}, not installed here; install it, or say export.runtime=FOLDER"
            " with the package's files"
        )


def copy_runtime(folder: str | None, target: Path) -> None:
    """Put the runtime's files and their licence into the folder `target`, which is made.

    Raises:
        InputError: they cannot be fetched, or the package is not the one that is expected.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / "LICENSE.txt").write_text(NOTICE, encoding="utf-8")
    if folder is not None:
        for file in _files_in(folder):
            shutil.copyfile(file, target / file.name)
        return
    with tempfile.TemporaryDirectory() as place:
        _unpack(_fetch(Path(place)), target)


def _files_in(folder: str) -> list[Path]:
    """Paths of `FILES` in a folder, or in `dist` of it, as the package has them."""
    root = Path(folder)
    dist = root / "dist" if (root / "dist").is_dir() else root
    missing = [name for name in FILES if not (dist / name).is_file()]
    if missing:
        raise InputError(
            f"export.runtime={folder}: lacks {', '.join(missing)}; give the folder of {PACKAGE}, node_modules/"
            "onnxruntime-web for instance"
        )
    return [dist / name for name in FILES]


def _fetch(place: Path) -> Path:
    """The package from npm, checked."""
    log.info("fetching %s with npm", PACKAGE)
    remedy = "say export.runtime=FOLDER with the package's files"
    npm = shutil.which("npm")
    assert npm is not None
    try:
        done = subprocess.run(
            [npm, "pack", PACKAGE, "--silent"], cwd=place, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"export=web: npm did not fetch {PACKAGE} within {TIMEOUT} s; {remedy}") from error
    archive = next(place.glob("*.tgz"), None)
    if done.returncode or archive is None:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(f"export=web: npm could not fetch {PACKAGE} ({reason}); {remedy}")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != INTEGRITY:
        raise InputError(f"export=web: what npm fetched is not the known {PACKAGE} (checksum differs); {remedy}")
    return archive


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as packed:
        for name in FILES:
            source = packed.extractfile(f"package/dist/{name}")
            assert source is not None
            with source, (target / name).open("wb") as file:
                shutil.copyfileobj(source, file)
