"""Words that come to nothing: one line that names the word, and exit code 2, before anything heavy is imported."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

import pytest

from backbone.errors import InputError
from conf.schema import register
from tasks.cli.compose import MAX_WHOLE, read
from tasks.cli.flags import check_flags
from tasks.cli.leaving import BAD_INPUT, LONGEST, CommandFailed, _errors_explained, one_line
from tests.e2e.command import trident

if TYPE_CHECKING:
    from pathlib import Path

LONG = "A" * 300
DIGITS = "9" * 400
WRONG = [
    ("experiment=0", r"experiment=0: Config group override must be a string or a list\. Got int"),
    ("+@=x", r"\+@=x: is no override; write key=value, or group=option"),
    (f"optim.learning_rate={DIGITS}", r"optim\.learning_rate=9+: int too large to convert to float"),
    (f"data.batch_size={DIGITS}", rf"data\.batch_size=a number of many digits: must be a whole .* at most {MAX_WHOLE}"),
    (f"data.batch_size={DIGITS * 12}", r"data\.batch_size=9+.*"),
    ("seed=4294967296", r"seed=4294967296: must be a whole number of at most 4294967295"),
    ("data.seed=-5000000000", r"data\.seed=-5000000000: must be a whole number of at most 4294967295"),
    ("optim.weight_decay=inf", r"optim\.weight_decay=inf: must be a finite number"),
    ("optim.learning_rate=nan", r"optim\.learning_rate=nan: must be a finite number"),
    ("seed=" + "[" * 3000, r"seed=\[.*"),
    ("backbone.width=1e308", r"backbone\.width=1e\+308: must be at most 16"),
    ("backbone.depth=1e9", r"backbone\.depth=1000000000\.0: must be at most 16"),
    ("transform.image_size=1000000", r"transform\.image_size=1000000: must be at most 8192"),
    ("data.scene_size=1000000", r"data\.scene_size=1000000: must be at most 8192"),
    ("task=[a]", r"task=a: there is no such option"),
    ("task=../x", r".*there is no such option\. Allowed: .*"),
    ("--config-dir=/none", r"--config-dir=/none: there is no such folder"),
    (f"--config-dir={LONG}", r"--config-dir=A+: there is no such folder"),
    ("--config-name=nope", r"--config-name: the configuration is always Trident's; .*--config-dir=FOLDER"),
    ("--config-path=x", r"--config-path: the configuration is always Trident's; .*"),
    ("--experimental-rerun=x", r"--experimental-rerun: would read a pickle, which can run code; .*"),
    ("--cfg=nope", r"argument --cfg/-c: invalid choice: 'nope' .*; --help tells what can be said"),
    ("logger=tensorboard", r"logger=tensorboard: there is no such option\. Allowed: files, mlflow, wandb"),
    ("logger.project=x", r".*logger\.project.*"),
    ("--nope", r"--nope: there is no such flag; --help tells what can be said"),
]


@pytest.mark.parametrize(("word", "line"), WRONG, ids=[word[:30] for word, _ in WRONG])
def test_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, word: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trident(monkeypatch, "task=detection", word) == 2
    said = capsys.readouterr()
    assert re.fullmatch(f"trident: {line}\n", said.err), said.err
    assert len(said.err) < LONGEST + 50
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["optim.eps=1e-30", f"seed={MAX_WHOLE}", "data.timeout=null", "only=null"])
def test_numbers_that_are_right(word: str) -> None:
    from conf.schema import register

    register()
    assert read([word])[0]


def test_flags_that_are_right(tmp_path: Path) -> None:
    check_flags(["--cfg", "job", "task=detection", f"--config-dir={tmp_path}"])
    with pytest.raises(InputError, match="there is no such folder"):
        check_flags([f"--config-dir={tmp_path}\0"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENAMETOOLONG, "File name too long", LONG), "A{200}: File name too long; give a shorter name"),
        (OSError(errno.ENOSPC, "No space left on device", "x"), "x: No space left on device; make room there .*"),
        (MemoryError(), "the memory is full; use smaller images or batches, .*"),
    ],
)
def test_what_the_machine_refuses(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    with pytest.raises(CommandFailed) as left, _errors_explained():
        raise error
    assert left.value.code == BAD_INPUT
    assert re.fullmatch(f"trident: {line}\n", capsys.readouterr().err)


def test_the_middle_of_a_long_message_is_left_out() -> None:
    assert one_line("a" * 5000) == "a" * (LONGEST // 2) + " .. " + "a" * (LONGEST // 2)


def test_words_stay_as_they_were_typed() -> None:
    """An interpolation among them is not resolved in what files say of the command."""
    register()
    words = ["mode=profile", "run_dir='runs/${seed}'"]
    config, command = read(words)
    assert command.overrides == words
    assert config.run_dir == "runs/0"
