"""What a failure leaves on the disk, and what can be done with it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.cli.test_resume import ARGUMENTS, assert_same_run, strike
from xpnet.errors import CheckpointError
from xpnet.runs import checkpoints
from xpnet.runs.folder import RunFolder


def files(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())


@pytest.mark.full
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", range(6))
@pytest.mark.parametrize("there", [False, True], ids=["new", "empty folder"])
def test_nothing_stays_of_a_run_that_could_not_be_saved(error, call, there, xpnet, folder, monkeypatch):
    if there:
        Path("run").mkdir()
    real, calls = os.replace, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) > call:
            raise error
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        outcome = xpnet("train", *ARGUMENTS, "--out", "run", "--quiet")
    assert outcome.out == ""
    assert len(outcome.err.splitlines()) == 1
    interrupted = isinstance(error, KeyboardInterrupt)
    assert outcome.code == (130 if interrupted else 1)
    if call < 5:  # environment, encoder, columns, configuration, first checkpoint
        assert files() == []
        assert ("nothing was saved" if interrupted else "No space left on device") in outcome.err
        assert "resume" not in outcome.err
        assert xpnet("train", *ARGUMENTS, "--out", "run").code == 0
    else:
        assert "xpnet resume run" in outcome.err
        assert xpnet("resume", "run").code == 0


@pytest.mark.full
@pytest.mark.parametrize("last", ["encoder.json", "config.toml", "last.safetensors"])
def test_killed_before_the_first_checkpoint(last, xpnet, folder):
    killed = strike(last, 1, "SIGKILL", "train", *ARGUMENTS, "--out", "run")
    assert killed.returncode == -signal.SIGKILL
    if last != "last.safetensors":
        outcome = xpnet("resume", "run")
        assert (outcome.code, "no config.toml" in outcome.err) == (1, True)
        outcome = xpnet("train", *ARGUMENTS, "--out", "run")
        assert (outcome.code, "resume" in outcome.err) == (2, False)
        return
    assert xpnet("resume", "run").code == 0  # it begins anew
    assert xpnet("train", *ARGUMENTS, "--out", "whole").code == 0
    assert_same_run("whole", "run")


@pytest.mark.full
def test_temporary_files_of_a_killed_process_are_swept(xpnet, folder):
    for where in ("last.safetensors", "loss.svg", "results.json"):
        number = 3 if where.startswith("last") else 1
        killed = strike(where, number, "SIGKILL", "train", *ARGUMENTS, "--out", where)
        assert killed.returncode == -signal.SIGKILL
        assert len([name for name in files(where) if name.endswith(".tmp")]) == 1
        assert xpnet("resume", where).code == 0
        assert not [name for name in files(where) if name.endswith(".tmp")]


def test_only_one_process_trains_in_a_folder(xpnet, trained):
    run = RunFolder(trained())
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with run.hold():
        outcome = xpnet("resume", run.path, "--epochs", "3")
        assert outcome.code == 1
        assert "is being trained by another process" in outcome.err
        assert xpnet("predict", run.path, "two-gaussians").code == 0
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert xpnet("resume", run.path, "--epochs", "3").code == 0


def test_a_training_holds_its_folder(xpnet, folder, monkeypatch):
    def elsewhere(self, trainer, step, steps):
        with pytest.raises(CheckpointError, match="another process"), RunFolder(Path("run")).hold():
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Keeper, "on_step_end", elsewhere)
    assert xpnet("train", *ARGUMENTS, "--out", "run").code == 130
    assert xpnet("resume", "run").code == 130


def test_what_the_user_put_there_stays(folder):
    run = RunFolder(Path("run"))
    run.make(chosen=True)
    run.log.write_text("a line\n")
    Path("run/figures/mine.svg").write_text("mine")
    run.discard()
    assert files() == ["run/figures/mine.svg"]
    RunFolder(Path("run")).discard()  # made by another process
    assert files() == ["run/figures/mine.svg"]


@pytest.mark.parametrize("epoch", [2, 4], ids=["while training", "before the figures"])
def test_a_run_folder_that_is_removed(epoch, xpnet, folder, monkeypatch):
    save = checkpoints.Keeper.save

    def removing(self, trainer):
        save(self, trainer)
        if trainer.epoch == epoch:
            shutil.rmtree("run")

    monkeypatch.setattr(checkpoints.Keeper, "save", removing)
    outcome = xpnet("train", *ARGUMENTS, "--out", "run", "--quiet")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: the run folder 'run' is gone")
    assert "xpnet resume" not in outcome.err
    assert files() == []


def test_the_file_that_could_not_be_written_is_named(xpnet, folder, monkeypatch):
    real = os.fsync

    def full(handle):
        if "accuracy.svg" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = xpnet("train", *ARGUMENTS, "--out", "run", "--quiet")
    assert outcome.code == 1
    assert outcome.err == (
        "error: 'run/figures/accuracy.svg': No space left on device; make room. "
        "When that is fixed, continue with: xpnet resume run\n"
    )
    assert xpnet("resume", "run").code == 0


def test_a_damaged_last_checkpoint(xpnet, trained):
    run = trained()
    path = run / "checkpoints/last.safetensors"
    path.write_bytes(path.read_bytes()[:-50])
    outcome = xpnet("resume", run, "--epochs", "3")
    assert outcome.code == 1
    assert "is damaged" in outcome.err
    assert f"The best weights may still serve: xpnet predict {run} FILE --checkpoint best" in outcome.err
    assert xpnet("predict", run, "two-gaussians", "--checkpoint", "best").code == 0


def test_another_rate_after_divergence(xpnet, folder):
    arguments = ("sine", "--optimizer", "sgd", "--learning-rate", "1e6", "--epochs", "5", "--hidden", "8")
    outcome = xpnet("train", *arguments, "--backend", "numpy", "--out", "run")
    assert outcome.code == 4
    assert outcome.err.endswith("to go on from there with another rate: xpnet resume run --learning-rate X\n")
    again = xpnet("resume", "run")
    assert again.code == 4
    outcome = xpnet("predict", "run", "sine")
    assert outcome.code == 0
    assert "has not been trained for a whole epoch: its weights are still random" in outcome.err
    outcome = xpnet("resume", "run", "--learning-rate", "0.01", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["epochs_trained"] == 5
    assert "learning-rate = 0.01" in Path("run/config.toml").read_text()
    for wrong in ("0", "-1", "x", "nan"):
        outcome = xpnet("resume", "run", "--learning-rate", wrong)
        assert outcome.code == 2
        assert "--learning-rate: expected a finite number above 0" in outcome.err


def test_advice_names_a_run_only_where_there_is_one(xpnet, trained):
    Path("mine").write_text("mine")
    assert "resume" not in xpnet("train", "digits", "--out", "mine").err
    assert "xpnet resume run" in xpnet("train", "digits", "--out", str(trained())).err


def test_accuracy_is_a_share_of_the_rows(xpnet, trained):
    found = xpnet("evaluate", trained(), "--json").json
    share = found["metrics"]["test"]["accuracy"] * found["rows"]["test"]
    assert share == pytest.approx(round(share), abs=1e-12)


@pytest.fixture
def _with_ctrl_c():
    """Ctrl-C as in the foreground: a shell's background jobs are started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_with_ctrl_c")
@pytest.mark.parametrize("raised", [KeyboardInterrupt, ImportError], ids=lambda kind: kind.__name__)
def test_ctrl_c_is_never_silent(raised, xpnet, folder, monkeypatch):
    def interrupted(*_, **__):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise raised("initialization failed")  # as an extension module turns one into the other

    monkeypatch.setattr("xpnet.tabular.dataset.load", interrupted)
    before = signal.getsignal(signal.SIGINT)
    outcome = xpnet("train", *ARGUMENTS)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "interrupted\n")
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr("xpnet.tabular.dataset.load", raise_import_error)
    assert "a fault of xpnet" in xpnet("train", *ARGUMENTS).err


def raise_import_error(*_, **__):
    raise ImportError("broken")
