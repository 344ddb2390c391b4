"""Several processes train as one does: the same items, the same curve, one set of files."""

import json
import os
import socket
import subprocess
import sys

import pytest

from edgeenhance.models.parallel import Ranks
from edgeenhance.models.train import train


def test_shares_of_all_processes_are_the_batches_of_one():
    shares = [Ranks(rank, 2).items(8, 24, 8) for rank in range(2)]
    assert shares[0] == [8, 9, 10, 11, 16, 17, 18, 19] and shares[1] == [12, 13, 14, 15, 20, 21, 22, 23]
    assert list(Ranks().items(8, 24, 8)) == list(range(8, 24))


def test_a_batch_that_cannot_be_dealt_evenly_is_refused():
    with pytest.raises(ValueError, match="7 items cannot be dealt to 2 processes"):
        Ranks(0, 2).share(7)


def losses(folder):
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"]) for record in records if "loss" in record]


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_two_processes_follow_the_curve_of_one(recipe_path, data_dir, bank_dir, cache, tmp_path):
    train(recipe_path, data_dir=data_dir, bank_dir=bank_dir, valid_bank=bank_dir, out=tmp_path / "one", cache=cache)
    command = [sys.executable, "-m", "edgeenhance", "train", recipe_path, "--data", data_dir, "--bank", bank_dir]
    command += ["--valid-bank", bank_dir, "--cache", cache, "-o", tmp_path / "two", "--workers", "1"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    torchrun += ["--master-addr", "localhost", "--master-port", str(free_port()), "-m"]
    done = subprocess.run(
        [*torchrun, *map(str, command[2:])], capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ours, theirs = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [step for step, _ in ours] == [step for step, _ in theirs]
    assert [loss for _, loss in theirs] == pytest.approx([loss for _, loss in ours], abs=1e-4)
    assert (tmp_path / "two" / "weights.npz").exists()
