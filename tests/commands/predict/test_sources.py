"""What a source is, and how results are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.errors import InputError
from tasks.data.files.sources import ImageSource, Names, Video, find, output_stem

if TYPE_CHECKING:
    from collections.abc import Sequence


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def files(source: str, without: Path | None = None) -> Sequence[str]:
    found = find(source, without)
    assert isinstance(found, list)
    return [picture.file for picture in found]


def test_a_folder_is_searched_to_its_ends_in_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, "b.JPG", "a/c.png", "a/b/d.webp", "a/note.md", ".hidden.jpg", "out/pictures/b.jpg")
    assert files(str(tmp_path), without=tmp_path / "out") == ["a/b/d.webp", "a/c.png", "b.JPG"]
    assert "1 files are no images by their suffix and are left out; the first is" in caplog.text


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    tree(tmp_path, "a/x.jpg")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert files(str(tmp_path)) == ["a/x.jpg"]


def test_a_pattern(tmp_path: Path) -> None:
    tree(tmp_path, "x/a.jpg", "x/b.jpg", "y/a.jpg", "y/c.png")
    assert files(f"{tmp_path}/*/*.jpg") == ["x/a.jpg", "x/b.jpg", "y/a.jpg"]
    assert files(f"{tmp_path}/**/*.png") == ["y/c.png"]
    odd = tree(tmp_path, "odd[1].jpg") / "odd[1].jpg"
    assert find(str(odd)) == [ImageSource("odd[1].jpg", str(odd))], "a file that is there is no pattern"


def test_a_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = "# mine\nx/a.jpg\n\nhttps://host/p/q.png?s=1\nx/a.jpg\n"
    (tmp_path / "list.txt").write_text(lines, encoding="utf-8")
    assert find(str(tmp_path / "list.txt")) == [
        ImageSource("x/a.jpg", str(tmp_path / "x/a.jpg")),
        ImageSource("https://host/p/q.png?s=1", "https://host/p/q.png?s=1"),
    ]
    assert "1 lines occur before and are left out" in caplog.text


def test_one_of_anything_else(tmp_path: Path) -> None:
    tree(tmp_path, "Clip.MP4", "photo")
    assert find("camera:3") == Video("camera3", 3)
    with pytest.raises(InputError, match=r"source=camera:9{20}: there is no camera of that number"):
        find(f"camera:{'9' * 20}")
    assert find(f"{tmp_path}/Clip.MP4") == Video("Clip", f"{tmp_path}/Clip.MP4")
    assert find(f"{tmp_path}/photo") == [ImageSource("photo", f"{tmp_path}/photo")]
    assert find("http://host/a.jpg") == [ImageSource("http://host/a.jpg", "http://host/a.jpg")]


def test_nothing_there(tmp_path: Path) -> None:
    tree(tmp_path, "docs/a.md", "docs/b.md", "clips/a.mp4")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("\n# nothing\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    wrong = {
        "missing": r"source=.*missing: there is no such file or folder; give an image, a folder, a pattern",
        "empty": r"source=.*empty: no images there, nothing; images end in \.avif, ",
        "docs": r"no images there, 2 files that are none by their suffix, such as .*a\.md",
        "clips": r"such as .*a\.mp4; .* a video is given by its own name",
        "*.jpg": r"source=.*\*\.jpg: no images there, nothing",
        "none.txt": r"the list is empty; write one path or address on a line",
        "bytes.txt": r"bytes.txt: is no text in UTF-16 .truncated data at byte 2.; write it again",
    }
    for name, message in wrong.items():
        with pytest.raises(InputError, match=message):
            find(str(tmp_path / name))


@pytest.mark.parametrize(
    ("file", "stem"),
    [
        ("a/b.c.jpg", "a/b.c.jpg"),
        ("../a.jpg", "a.jpg"),
        ("/x/y/a.jpg", "a.jpg"),
        ("https://h/p/a%20b.jpg?x=/c.png#d", "a b.jpg"),
        ("https://h/", "picture"),
        ("https://h/..", "picture"),
        ("https://h/%2e%2e%2fa:b.jpg", "_a_b.jpg"),
        ("http://[::1", "picture"),
        (".", "picture"),
        ("..", "picture"),
        ("/", "picture"),
        ("a/..", "picture"),
        ("a\0.jpg", "a_.jpg"),
    ],
)
def test_results_stay_below_their_folder(file: str, stem: str) -> None:
    assert str(output_stem(file)) == stem


def test_names_do_not_collide() -> None:
    names = Names()
    given = [
        names.give(file) for file in ("a/x.jpg", "a/x.png", "b/x.jpg", "x.jpg", "A/X.webp", "/p/x.jpg", "/q/x.jpg")
    ]
    assert given == ["a/x", "a/x.png", "b/x", "x", "A/X.webp", "x.jpg", "x_2"]
    again = Names()
    again.keep("a/x")
    assert again.give("a/x.bmp") == "a/x.bmp"


@given(st.text())
def test_any_line_of_a_list_has_a_name_below_the_folder(line: str) -> None:
    for file in (line, f"http://{line}", f"https://h/{line}"):
        name = Path(Names().give(file))
        assert name.name
        assert not name.is_absolute()
        assert ".." not in name.parts


@given(st.lists(st.text("aA./b", min_size=1, max_size=6).map(lambda text: f"{text}.jpg"), max_size=40))
def test_no_two_pictures_ever_share_a_name(given_files: list[str]) -> None:
    names = Names()
    stems = [names.give(file).lower() for file in given_files]
    assert len(set(stems)) == len(stems)
    assert not [stem for stem in stems if Path(stem).is_absolute() or ".." in Path(stem).parts]
