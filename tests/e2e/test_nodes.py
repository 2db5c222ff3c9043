"""Two machines, as network namespaces of this one, and a job that torchrun starts anew."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.command import TINY
from tests.e2e.test_distributed import CPU, FROZEN, children, losses

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
NODES = """
set -e
mount -t tmpfs tmpfs /run
ip netns add a; ip netns add b
ip link add va netns a type veth peer name vb netns b
ip -n a address add 10.99.0.1/24 dev va; ip -n b address add 10.99.0.2/24 dev vb
for node in a b; do ip -n $node link set lo up; ip -n $node link set v$node up; done
"""
"""Two namespaces with a cable between them."""


def may_make_namespaces() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return not subprocess.run(["unshare", "-rnm", "bash", "-c", NODES], capture_output=True).returncode


def test_two_nodes_train_as_one_process(tmp_path: Path) -> None:
    if not may_make_namespaces():
        pytest.skip("this machine does not allow network namespaces")
    common = ("task=detection", *TINY, *CPU, *FROZEN, f"data.root={tmp_path / 'scenes'}")
    one = [sys.executable, "-m", "tasks.run", *common, f"run_dir={tmp_path / 'one'}"]
    subprocess.run(one, check=True, capture_output=True)
    words = (*common, "data.batch_size=2", "trainer.sync_batchnorm=true", "trainer.num_nodes=2")
    started = " ".join(
        [*TORCHRUN, "--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "10.99.0.1", "--master-port", "29400"]
    )
    for mode, more in (
        ("train", words),
        ("evaluate", ("mode=evaluate", f"checkpoint={tmp_path / 'one/model.safetensors'}", CPU[0])),
    ):
        line = " ".join(more) + f" run_dir={tmp_path / mode}"
        script = NODES + "\n".join(
            f"ip netns exec {node} env GLOO_SOCKET_IFNAME=v{node} {started} --node-rank {rank} -m tasks.run {line} &"
            for rank, node in enumerate("ab")
        )
        done = subprocess.run(
            ["unshare", "-rnm", "bash", "-c", f"{script}\nwait -n; wait -n"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    found, expected = losses(tmp_path / "train"), losses(tmp_path / "one")
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    assert found == pytest.approx(expected, rel=2e-2)  # float32: see the same test on one machine
    figures = [json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("one", "evaluate")]
    assert figures[0] == figures[1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_torchrun_starts_a_killed_job_anew_and_it_goes_on(tmp_path: Path) -> None:
    words = ("task=detection", *TINY, *CPU, f"data.root={tmp_path / 'scenes'}")
    words += ("trainer.max_steps=30", "trainer.checkpoint_every=1", "data.batch_size=2")
    line = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "tasks.run", *words]
    code = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(code)}
    process = subprocess.Popen(
        line, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    limit = time.monotonic() + 400
    while not list(tmp_path.glob("runs/detection/*/checkpoints/step_000005.ckpt")):
        assert time.monotonic() < limit
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.kill(children(process.pid)[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    (run,) = (tmp_path / "runs" / "detection").iterdir()
    assert len(losses(run)) == 30
    assert (run / "metrics.json").is_file()
