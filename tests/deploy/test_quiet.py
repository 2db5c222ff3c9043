"""What libraries write past Python is kept back and can be read; afterwards all is as before."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from tasks.deploy.quiet import overheard, quiet


def test_what_is_written_to_the_descriptor_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    with overheard() as said:
        os.write(2, b"kernel ")
        os.write(2, b"missing\n")
        assert said() == "kernel missing\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_errors_pass_and_leave_everything_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    def noisy() -> None:
        warnings.warn("advice", UserWarning, stacklevel=1)
        logging.getLogger("tool").error("advice")
        sys.stdout.write("progress")
        os.write(2, b"progress")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), quiet():
        noisy()
    assert logging.root.manager.disable == 0
    assert capfd.readouterr() == ("", "")
    sys.stdout.write("heard")
    assert capfd.readouterr().out == "heard"
