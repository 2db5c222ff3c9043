"""What a run finds of an earlier one, and the words and lists that it is given."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from typing import TYPE_CHECKING, Any

import torch
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from backbone.errors import InputError
from conf.schema import literal_words, register
from tasks.cli.compose import read as read_words
from tasks.cli.explain import explain
from tasks.commands.predict.journal import Entry, Journal
from tasks.commands.predict.results import write_results
from tasks.config.renamed import with_new_names
from tasks.config.run import Command, RunConfig
from tasks.data.files import sources
from tasks.data.labels import LabelMap
from tasks.runs.folder import read_config
from tasks.runs.tables import rows_of
from tasks.training.csv_log import CsvLog
from tasks.training.resume import file as checksummed
from tasks.training.resume.checkpoints import Best, Checkpoint, Checkpoints
from tasks.training.resume.claim import RunLock, Stage, unfinished
from tasks.training.resume.place import Position
from tests.fuzz.campaign import Surface, check
from tests.fuzz.mutations import NUMBERS, TEXTS, damaged, json_bytes, maybe_damaged, tree, value

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

WRITTEN = {
    "task": "detection",
    "backbone": {"width": 1.0, "weights": None},
    "optim": {"eps": 1e-8},
    "trainer": {"max_steps": 9},
}


def command() -> Command:
    return Command(overrides=["task=detection"], choices={"task": "detection"}, written=WRITTEN)


def run_folder(folder: Path) -> None:
    (folder / "run" / "checkpoints").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "step_000001.ckpt").write_bytes(b"")


def try_note(rng: Random, folder: Path, _: Any) -> None:
    """`run.json` and `config.yaml`."""
    note = {"format": 1, "finished": False, "command": ["task=detection"], "config": WRITTEN}
    run = folder / "run"
    (run / "run.json").write_bytes(json_bytes(rng, note))
    (run / "config.yaml").write_bytes(maybe_damaged(rng, json.dumps(tree(rng, WRITTEN)).encode(errors="replace")))
    if rng.random() < 0.1:
        more = "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(8))
        (run / "config.yaml").write_text(f"a0: &a0 [x]\n{more}")
    found = read_config(run)
    check(found is None or isinstance(found, dict), found)
    newest = unfinished(folder, command())
    check(newest in (None, run), newest)
    lock = RunLock(run, command())
    check(lock.stage in (Stage.begun, Stage.finished), lock.stage)


def try_table(rng: Random, folder: Path, _: Any) -> None:
    """`metrics.csv`: what is left of its rows is what was written."""
    file = folder / "metrics.csv"
    rows = [f"{step},{step / 7},{'' if step % 2 else step}" for step in range(1, 9)]
    whole = "step,loss,map\r\n" + "".join(f"{row}\r\n" for row in rows)
    kind = rng.random()
    if kind < 0.3:
        data = whole.encode()[: rng.randrange(len(whole))] + rng.choice((b"", bytes(500), b"\xff\xfe"))
    elif kind < 0.5:
        lines = whole.splitlines(keepends=True)
        lines[rng.randrange(len(lines))] = rng.choice(
            ('"', 'a,"b', ",", "", "x" * 200_000, "1,2\r\n", "step,step,step\r\n", "\0\r\n")
        )
        data = "".join(lines).encode()
    else:
        data = maybe_damaged(rng, whole.encode(), 0.9)
    file.write_bytes(data)
    log = CsvLog(folder, keep=rng.choice((1, 5, 8, 100)))
    log.log_metrics({"loss": 0.5, "new": 1.0}, 9)
    last = list(rows_of(file))[-1]
    check(last["step"] == "9" and last["loss"] == "0.5" and last["new"] == "1.0", last)
    if data == whole.encode():
        check(next(iter(rows_of(file)))["loss"] == str(1 / 7), "the first row")


def state() -> dict[str, Any]:
    return {
        "place": Position(epoch=1, batch=2, batches=3, step=4, logged=5).to_plain(), "best": {"step": 2, "figure": 0.5},
        "state": {"state_dict": {"w": torch.ones(3)}, "optimizer_states": [{}]}, "facts": {"steps": 9}, "rows": 3,
        "rng": [{"python": [3, [1, 2], None]}],
    }  # fmt: skip


def checkpoints(folder: Path) -> bytes:
    kept = Checkpoints(folder)
    kept.write_best(Best(2, 0.5), {"w": torch.ones(3)})
    place = Position(epoch=1, batch=2, batches=3, step=4, logged=5)
    kept.write(
        Checkpoint(
            kept.path(place), place, Best(2, 0.5), state()["state"], {"steps": 9}, 3, [{"python": [3, [1], None]}]
        )
    )
    return kept.path(place).read_bytes()


def sealed(payload: bytes, notes: bytes = b'{"bytes": 1}') -> bytes:
    """A checkpoint around anything, with a right checksum."""
    rest = len(notes).to_bytes(8, "little") + notes + payload
    return checksummed.MAGIC + hashlib.sha256(rest).digest() + rest


def try_resume(rng: Random, folder: Path, valid: bytes) -> None:
    """A checkpoint that is damaged, or tampered with under a right checksum."""
    kind = rng.random()
    buffer = io.BytesIO()
    if kind < 0.3:
        data = damaged(rng, valid)
    elif kind < 0.8:
        content = state()
        if rng.random() < 0.9:
            content |= tree(rng, {name: part for name, part in content.items() if name != "state"}) or {}
        if rng.random() < 0.3:
            content[rng.choice(list(content))] = value(rng)
        with contextlib.suppress(KeyError, IndexError):
            if rng.random() < 0.2:
                del content[rng.choice(list(content))]
        torch.save(content, buffer)
        data = sealed(buffer.getvalue())
    elif kind < 0.9:
        torch.save(rng.choice((value(rng), {"state_dict": RunConfig}, [torch.ones(2)])), buffer)
        data = sealed(buffer.getvalue(), rng.choice((b"", b"[]", b"{}", b'{"bytes": null}')))
    else:
        torch.save(state(), buffer)
        data = sealed(damaged(rng, buffer.getvalue(), most=2))
    (folder / "step_000004.ckpt").write_bytes(data)
    found = Checkpoints(folder).newest()
    check(found is not None, "no checkpoint")
    assert found is not None
    numbers = (
        found.place.epoch,
        found.place.batch,
        found.place.batches,
        found.place.step,
        found.place.logged,
        found.rows,
    )
    check(all(type(number) is int and number >= 0 for number in numbers), numbers)
    check(found.best is None or (type(found.best.step) is int and not math.isnan(found.best.metric)), found.best)
    check(
        isinstance(found.state["state_dict"], dict) and isinstance(found.facts, dict) and isinstance(found.rng, list),
        found,
    )


def try_journal(rng: Random, folder: Path, _: Any) -> None:
    """The journal of mode=predict: its lines are read, gone on with and written as results."""
    file = folder / "journal.jsonl"
    box = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "score": 0.5}
    made_by = {"model": "x"}
    entries = [
        {"file": "a.jpg", "image_id": 1, "name": "a", "size": [4, 5], "answers": {"objects": {"detections": [box]}}},
        {"file": "b.jpg", "image_id": 2, "name": "b", "size": [4, 5], "answers": {"objects": {"detections": []}}},
        {"file": "c.jpg", "name": "c", "error": "is broken"},
    ]
    lines = [json.dumps({"format": "trident-predict-1", "made_by": made_by}), *map(json.dumps, entries)]
    if rng.random() < 0.6:
        lines[rng.randrange(1, 4)] = json.dumps(tree(rng, rng.choice(entries)))
    content = "".join(f"{line}\n" for line in lines).encode(errors="replace")
    file.write_bytes(maybe_damaged(rng, content, 0.3))
    journal = Journal(file, made_by)
    try:
        journal.add(
            Entry(
                file="d.jpg",
                image_id=journal.new_id(),
                name="d",
                size=[1, 1],
                answers={"objects": {"detections": [box]}},
            )
        )
        found = list(journal)
        check(any(entry.file == "d.jpg" for entry in found), found)
        write_results(
            lambda: iter(journal), folder, {"objects": LabelMap(["a"], [1])}, [one for one in found if one.error]
        )
        rows = json.loads((folder / "detections.json").read_text(encoding="utf-8"))
        check(rows[-1] == box, rows)
    finally:
        journal.close()


def composed(_: Path) -> None:
    register()


def try_words(rng: Random, folder: Path, _: Any) -> None:
    """Words of a command: keys that there are or are not, and values of any kind."""
    keys = (
        "seed", "task", "mode", "run_dir", "backbone", "backbone.width", "head", "data", "data.root", "data.batch_size",
        "data.workers", "transform.image_size", "optim.learning_rate", "trainer.max_steps", "trainer.precision",
        "logger", "predict.score", "checkpoint", "artifact", "source", "only", "heads", "experiment", "x", "data.x",
        "", "a.b.c", "hydra.run.dir", "task@x", "backbone@head", "optim", "evaluation.beside",
    )  # fmt: skip
    words = []
    for _again in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice(keys)
        said = rng.choice((
            rng.choice(TEXTS), str(rng.choice(NUMBERS)), str(value(rng)), "detection", "segmentation", "null", "[1,2]",
            "{a: 1}", "1,2", "${seed}", "${oc.env:HOME}", "'a", "[" * 200, "range(1,3)", "int(1)", "@", "=",
        ))  # fmt: skip
        words.append(f"{rng.choice(('', '', '', '+', '++', '~'))}{key}{rng.choice(('=', '=', '=', ''))}{said}")
    if rng.random() < 0.3:
        words = [damaged(rng, " ".join(words).encode(errors="replace")).decode(errors="replace")]
    simple = rng.random() < 0.2
    if simple:
        number = rng.choice((1, 7, 2**20))
        words = [f"trainer.max_steps={number}", "optim.eps=1e-3", f"run_dir={folder.name}"]
    GlobalHydra.instance().clear()
    words = literal_words(with_new_names(words, lambda hint: None), is_sweep=False)
    try:
        with initialize_config_module("conf", version_base="1.3"):
            config, said_again = read_words(words)
    except InputError:
        raise
    except Exception as error:
        line = explain(error, words)
        if line is None:
            raise
        raise InputError(line) from error
    ours = [word for word in words if not word.lstrip("+~").startswith("hydra")]
    check(isinstance(config, RunConfig) and said_again.overrides == ours, words)
    if simple:
        check((config.trainer.max_steps, config.optim.eps, config.run_dir) == (number, 1e-3, folder.name), words)


def pictures(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"")


def try_list(rng: Random, folder: Path, _: Any) -> None:
    """Lists of images, and sources as they are typed."""
    lines = [
        rng.choice((*TEXTS, "a.jpg", ".", "..", "/", "http://[::1", "http://h/é.jpg", "https://", "file:///etc/passwd",
                    "# a", "http://h:99999/a", "camera:0", "a.jpg ", "b/../a.jpg"))
        for _again in range(rng.randint(0, 6))
    ]  # fmt: skip
    file = folder / "list.txt"
    encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1"))
    file.write_bytes(maybe_damaged(rng, "\n".join(lines).encode(encoding, errors="replace"), 0.3))
    source = (
        str(file)
        if rng.random() < 0.7
        else rng.choice((*TEXTS, "camera:99999999999999999999", str(folder), "[", "**", f"{folder}/*.jpg"))
    )
    found = sources.find(source)
    if isinstance(found, list):
        check(len({one.file for one in found}) == len(found), "a name twice")
        names = sources.Names()
        stems = [names.give(one.file) for one in found]
        check(len(set(stems)) == len(stems), stems)
        check(all(name and not name.startswith("/") and ".." not in name.split("/") for name in stems), stems)


SURFACES = (
    Surface("run.json", run_folder, try_note),
    Surface("metrics.csv", lambda folder: None, try_table),
    Surface("resume files", checkpoints, try_resume, native=True),
    Surface("journals", lambda folder: None, try_journal),
    Surface("words", composed, try_words, slow=5),
    Surface("lists and sources", pictures, try_list),
)
