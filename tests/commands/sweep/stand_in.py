"""In the place of a run, `python stand_in.py RECORD WORDS`: leaves figures at once, or fails as a file tells it to."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from tasks.commands.sweep.record import Measured, place_of, read_record, write_record

if __name__ == "__main__":
    record_file = Path(sys.argv[1])
    place, record = place_of(record_file), read_record(record_file)
    assert record is not None
    with (place.sweep / "begun.txt").open("a") as begun:
        begun.write(f"{place.name}\n")
    trouble = place.sweep / "trouble" / place.name
    if trouble.is_file():
        match trouble.read_text():
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fail":
                record.reason = "data.root=x: there is no such folder"
                write_record(record_file, record)
                sys.exit(2)
            case "silent":
                sys.exit(3)
            case "wait":
                (place.sweep / "waiting").touch()
                time.sleep(60)
    place.folder.mkdir(exist_ok=True)
    width, size = record.config["backbone"]["width"], record.config["transform"]["image_size"]
    (place.folder / "metrics.json").write_text(json.dumps({"val": {"top1": width / 2, "loss": None}}))
    record.measured = Measured(
        figures=["top1"],
        image_size=size,
        parameters=1000,
        multiply_adds=int(1e6 * width * size**2),
        latency_ms=width * size,
        machine="a test",
        references=[{"figure": "top1", "value": 0.7, "source": "a paper", "caveat": ""}],
        imagenet=True,
    )
    write_record(record_file, record)
