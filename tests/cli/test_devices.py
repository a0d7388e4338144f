"""Runs on a CUDA device: precision, the most memory that was taken, a limit for it, and too little of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from xpnet.backends import Backend

RUN = (
    "train",
    "digits",
    "--epochs",
    "1",
    "--hidden",
    "16",
    "--out",
    "run",
    "--diagnostics",
    "0",
    "--backend",
    "cuda",
)


def read(name: str) -> Any:
    return json.loads(Path("run", name).read_text())


@pytest.mark.backends("cupy")
def test_precision_and_memory_are_recorded(xpnet: Command, cuda: Backend) -> None:
    outcome = xpnet(*RUN, "--precision", "tf32", "--device-memory", "256MiB")
    assert outcome.code == 0, outcome.err
    results = read("results.json")
    assert results["precision"] == "tf32"
    assert 2**20 < results["peak_memory"] <= cuda.peak_memory()
    assert "products in tf32" in outcome.out
    assert "taken at most" in outcome.out
    report = Path("run/report.html").read_text()
    assert "taken at most" in report
    config = Path("run/config.toml").read_text().splitlines()
    assert {'precision = "tf32"', 'device-memory = "256MiB"'} <= set(config)
    resumed = xpnet("resume", "run", "--epochs", "2", "--precision", "float32", "--device-memory", "none")
    assert resumed.code == 0, resumed.err
    assert "precision: tf32 -> float32 (from epoch 2 on)" in resumed.err
    assert read("results.json")["precision"] == "float32"
    elsewhere = xpnet("evaluate", "run", "--backend", "numpy", "--json")
    assert elsewhere.json["device"] == "numpy"


@pytest.mark.backends("cupy")
def test_too_little_memory_ends_a_run_that_can_go_on(xpnet: Command, cuda: Backend) -> None:
    limit = cuda.xp.get_default_memory_pool().used_bytes() + 2**20  # the table takes a half of it
    outcome = xpnet(*RUN, "--hidden", "512", "--batch-size", "full", "--device-memory", str(limit))
    assert outcome.code == 1
    error = outcome.err.splitlines()[-1]
    assert error.startswith("error: backend cupy:0: expected ")
    assert error.endswith("go on with smaller batches: xpnet resume run --batch-size N")
    assert "MiB of free memory for fit" in error or "KiB of free memory for fit" in error
    assert "Traceback" not in outcome.err
    assert "failed: " in Path("run/train.log").read_text()
    cuda.limit_memory(None)  # the command's process would have ended
    resumed = xpnet("resume", "run", "--batch-size", "64", "--device-memory", "none")
    assert resumed.code == 0, resumed.err
    assert read("results.json")["epochs_trained"] == 1
