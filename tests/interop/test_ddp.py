"""The script of chapter 5.1.2 on real processes: as many as there are, the same training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "chapters" / "05_outlook" / "ddp.py"


def trained(processes, path):
    launch = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    result = subprocess.run(
        [sys.executable, "-m", *launch, SCRIPT, path],
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"{processes} processes, {64 // processes} examples each")
    return torch.load(path)


def test_two_processes_train_what_one_trains(tmp_path):
    alone, shared = (trained(processes, tmp_path / f"{processes}.pt") for processes in (1, 2))
    for name, value in alone.items():
        # The sums have another order, and the updates hand the difference on.
        assert torch.allclose(shared[name], value, rtol=1e-9, atol=1e-11), name
