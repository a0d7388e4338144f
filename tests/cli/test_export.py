"""``xpnet export``: each kind of file, and what it refuses."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import xpnet as package


def test_exports_of_a_run(xpnet, finished_run):
    outcome = xpnet("export", finished_run, "--to", "numpy", "--out", "folder")
    assert (outcome.code, outcome.out) == (0, "")
    assert "the network of epoch 2 was written to folder" in outcome.err
    assert sorted(x.name for x in Path("folder").iterdir()) == ["predict.py", "weights.npz"]
    last = ("--to", "torch", "--out", "a.safetensors", "--checkpoint", "last")
    assert xpnet("export", finished_run, *last).code == 0
    trainer = package.Trainer.load(finished_run / "checkpoints" / "last.safetensors", "numpy", encoded=True)
    weight = trainer.variables.params["0.weight"]
    np.testing.assert_array_equal(load_file("a.safetensors")["0.weight"], weight.T)


def test_a_run_as_onnx(xpnet, finished_run):
    pytest.importorskip("onnx")
    assert xpnet("export", finished_run, "--to", "onnx", "--out", "model.onnx").code == 0
    again = xpnet("export", finished_run, "--to", "onnx", "--out", "model.onnx")
    assert again.code == 2
    assert "'model.onnx' exists already; use --overwrite" in again.err
    assert xpnet("export", finished_run, "--to", "onnx", "--out", "model.onnx", "--overwrite").code == 0


def test_onnx_is_asked_for(xpnet, finished_run, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "onnx" else real(n, *a))
    outcome = xpnet("export", finished_run, "--to", "onnx", "--out", "model.onnx")
    assert outcome.code == 1
    assert "pip install onnx (of the extra 'onnx')" in outcome.err


def test_bad_input(xpnet, finished_run):
    for arguments, said in {
        ("--to", "onnx"): "--out: expected a value, found none; write, say: xpnet export",
        ("--out", "a"): "--to: expected a value",
        ("--to", "keras", "--out", "a"): "--to: expected 'onnx' or 'numpy' or 'torch', found 'keras'",
        ("--to", "numpy", "--out", "none/a"): "'none/a' cannot be written: No such file or directory",
        ("--to", "torch", "--out", "none/a"): "'none/a' cannot be written: No such file or directory",
    }.items():
        outcome = xpnet("export", finished_run, *arguments)
        assert outcome.code == 2
        assert said in outcome.err
