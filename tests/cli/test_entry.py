"""The way in and out of the command: help, versions, the BLAS kernel, exit codes, ``xpnet env``."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as package
from xpnet import errors
from xpnet.backends import known
from xpnet.cli import app, commands, main
from xpnet.cli.app import build
from xpnet.program.lowerings import blas_libraries
from xpnet.program.lowerings.base import LOWERINGS

ROOT = str(Path(package.__file__).parents[1])


def python(code, **environment):
    env = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    env.update(environment, PYTHONPATH=ROOT)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_help_needs_nothing_heavy():
    code = """
import sys
from xpnet.cli import main
code = main(["--help"])
heavy = {"numpy", "polars", "matplotlib", "torch", "jax", "cupy", "safetensors"} & set(sys.modules)
assert code == 0 and not heavy, heavy
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    for command in ("train", "predict", "evaluate", "resume", "env"):
        assert command in done.stdout


@pytest.mark.parametrize(
    ("mine", "expected"), [(None, "SkylakeX"), pytest.param("Haswell", "Haswell", marks=pytest.mark.full)]
)
def test_the_kernel_is_chosen_before_numpy_loads(mine, expected):
    code = """
import builtins, os, sys
from xpnet import blas
assert "numpy" not in sys.modules
blas.faster_kernel = lambda *_: "SkylakeX"
real, seen = builtins.__import__, []
def watch(name, *arguments):
    if name.partition(".")[0] == "numpy" and not seen:
        seen.append(os.environ.get("OPENBLAS_CORETYPE"))
    return real(name, *arguments)
builtins.__import__ = watch
from xpnet.cli import main
main(["train", "two-gaussians", "--dry-run", "--backend", "numpy"])
print("seen", seen[0])
"""
    done = python(code, **({"OPENBLAS_CORETYPE": mine} if mine else {}))
    assert f"seen {expected}" in done.stdout, done.stderr


def test_module_is_the_command():
    command = [sys.executable, "-m", "xpnet", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT})
    assert (done.returncode, done.stdout) == (0, f"xpnet {package.__version__}\n")


def test_without_arguments_it_helps(xpnet):
    outcome = xpnet()
    assert outcome.code == 2
    assert "train" in outcome.out


@pytest.mark.parametrize("asked", [("--help", "all"), ("-h", "all"), ("--help-all",)])
def test_help_in_full_names_every_choice(asked, xpnet, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    outcome = xpnet("train", *asked)
    assert outcome.code == 0
    for word in ("--batch-size", "adamw", "softmax_cross_entropy", "leakyrelu", "orthogonal", "cosine"):
        assert word in outcome.out


COMMANDS = (
    "train", "predict", "evaluate", "resume", "prune", "tune", "lr-range", "graph", "export", "parity", "env",
)  # fmt: skip


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_a_screen(command, xpnet, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = xpnet(*command, "--help")
    assert outcome.code == 0
    assert "Usage: xpnet" in outcome.out
    lines = outcome.out.splitlines()
    assert len(lines) <= 40
    assert all(len(line) <= 80 for line in lines)


def test_the_examples_of_help_are_command_lines():
    flags = re.compile(r"(?<![\w-])--[a-z-]+")
    for name, command in app.known_commands().items():
        known = {f"--{p.name}" for p in command.parameters}
        assert {f"--{flag}" for flag in app._MAIN.get(name, "").split()} <= known
        for line in app._EXAMPLES.get(name, ()):
            assert shlex.split(line)[:2] == ["xpnet", name]
            assert set(flags.findall(line)) <= known


def test_flags_take_underscores(xpnet):
    outcome = xpnet("train", "sine", "--batch_size", "7", "--learning_rate=0.5", "--no-batch_norm",
                    "--drop", "my_id", "--print_config")  # fmt: skip
    assert outcome.code == 0, outcome.err
    for line in ("batch-size = 7", "learning-rate = 0.5", "batch-norm = false", 'drop = ["my_id"]'):
        assert line in outcome.out
    assert "--no_such" in xpnet("train", "sine", "--no_such", "1").err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["trian"], "did you mean 'train'"), (["predict"], "'run'"), (["train", "--nothing"], "--nothing")],
)
def test_usage_errors(arguments, words, xpnet):
    outcome = xpnet(*arguments)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert words in outcome.err.lower()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.BackendError("x"), 3),
        (errors.DivergedError("x"), 4),
        (errors.DataError("x"), 5),
        (errors.CheckpointError("x"), 1),
        (errors.RecordError("x"), 1),
        (OSError(28, "No space left on device", "/full"), 1),
        (MemoryError(), 1),
        (RuntimeError("surprise"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code, xpnet, monkeypatch):
    def fail(**_):
        raise error

    monkeypatch.setattr(commands, "env", fail)
    outcome = xpnet("env")
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == (1 if code != 130 else len(outcome.err.splitlines()))
    assert "Traceback" not in outcome.err


def test_debug_shows_the_traceback(xpnet, folder):
    outcome = xpnet("train", "none.csv", "--debug")
    assert outcome.code == 5
    assert "Traceback" in outcome.err


def test_a_reader_that_leaves(folder):
    command = f"{sys.executable} -m xpnet train sine --print-config | head -n 1"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert (done.stdout, done.stderr) == ("# Data\n", "")


def test_env(xpnet):
    found = xpnet("env", "--json").json
    assert set(found["backends"]) == set(known())
    assert found["backends"]["numpy"]["usable"] is True
    for state in found["backends"].values():
        assert state["usable"] or state["reason"]
    assert list(found["lowerings"]) == list(LOWERINGS)
    assert found["lowerings"]["numpy"] == ""
    assert found["versions"]["numpy"] == np.__version__
    assert found["memory"]["total"] > 0
    shown = xpnet("env").out
    for word in (*known(), *LOWERINGS, "memory", "processor", "matrix products", package.__version__):
        assert word in shown


def test_env_tells_of_a_faster_kernel(xpnet, monkeypatch):
    monkeypatch.setattr("xpnet.blas.faster_kernel", lambda *_: "SkylakeX")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setattr("xpnet.blas.active_kernels", lambda: ["openblas 0.3 Haswell"])
    assert "set OPENBLAS_CORETYPE=SkylakeX" in xpnet("env").out
    monkeypatch.setattr("xpnet.blas.active_kernels", lambda: ["openblas 0.3 SkylakeX"])
    assert "export OPENBLAS_CORETYPE=SkylakeX" in xpnet("env").out


def test_env_tells_which_blas_compiled_code_calls(xpnet, monkeypatch):
    if LOWERINGS["numba"].reason():
        pytest.skip(LOWERINGS["numba"].reason())
    chosen = blas_libraries.Choice("mkl", "the processor is one of Intel's")
    monkeypatch.setattr(blas_libraries, "choice", lambda: chosen)
    assert "Intel's MKL (the processor is one of Intel's)" in xpnet("env").out
    monkeypatch.setattr(blas_libraries, "choice", lambda: blas_libraries.Choice("", "there is none"))
    assert "calls of NumPy (there is none)" in xpnet("env").out


def test_a_blas_that_is_unknown(xpnet, monkeypatch):
    """A run is refused before it begins; ``xpnet env`` says what is wrong."""
    if LOWERINGS["numba"].reason():
        pytest.skip(LOWERINGS["numba"].reason())
    blas_libraries.choice.cache_clear()
    monkeypatch.setenv("XPNET_BLAS", "mlk")
    wrong = "XPNET_BLAS: expected openblas or mkl, found 'mlk'; did you mean 'mkl'?"
    outcome = xpnet("train", "sine", "--epochs", "1", "--out", "run")
    assert (outcome.code, wrong in outcome.err) == (2, True)
    assert wrong in xpnet("env").out
    assert xpnet("env", "--json").json["compiled_products"] == {"library": None, "reason": wrong}


def test_application_can_be_built_for_completion():
    assert build() is not None
    assert callable(main)
