"""What comes from outside: signals, terminals that go, pipes that close, a full disk behind stderr."""

from __future__ import annotations

import errno
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import xpnet as package
from xpnet.cli import commands
from xpnet.runs import checkpoints
from xpnet.runs.signals import Signals
from xpnet.streams import Patient
from xpnet.train import checkpoint_file

ARGUMENTS = ("two-gaussians", "--epochs", "4", "--hidden", "8", "--backend", "numpy")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


@pytest.fixture(autouse=True)
def _default_handlers():
    """Signals as in the foreground: a shell's background jobs are started with Ctrl-C ignored."""
    wanted = {"SIGINT": signal.default_int_handler, "SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL}
    before = {name: signal.signal(getattr(signal, name), handler) for name, handler in wanted.items()}
    yield
    now = {name: signal.getsignal(getattr(signal, name)) for name in wanted}
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)
    assert now == wanted, "a handler was not put back"


def raising(*names):
    """Return a callback's method that sends the signals at the end of the sixth step."""
    seen = []

    def on_step_end(self, trainer, step, steps):
        seen.append(step)
        if len(seen) == 6:
            for name in names:
                signal.raise_signal(getattr(signal, name))
        if self.interruption is not None:
            self.interruption.obey()

    return on_step_end


def parameters(run):
    return checkpoint_file.read(Path(run) / "checkpoints" / "last.safetensors")[0]["params"]


@pytest.mark.parametrize("name", CODES)
def test_signals_save_the_state(name, xpnet, folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Keeper, "steps_apart", 1)
        patch.setattr(checkpoints.Keeper, "on_step_end", raising(name))
        outcome = xpnet("train", *ARGUMENTS, "--batch-size", "256", "--out", "run")
    assert outcome.code == CODES[name]
    by = "" if name == "SIGINT" else f" by {name}"
    assert f"interrupted{by} after epoch 1; the state is saved" in outcome.err
    assert f"interrupted{by} after epoch 1" in Path("run/train.log").read_text()
    assert xpnet("resume", "run", "--quiet").code == 0
    assert xpnet("train", *ARGUMENTS, "--batch-size", "256", "--out", "whole", "--quiet").code == 0
    np.testing.assert_array_equal(parameters("run"), parameters("whole"))


@pytest.mark.parametrize("names", [["SIGHUP", "SIGTERM", "SIGHUP"], ["SIGTERM", "SIGINT"], ["SIGINT"] * 3])
def test_more_signals_lose_nothing(names, xpnet, folder, monkeypatch):
    """A terminal sends SIGHUP, and its shell again; the state is saved once, whatever comes meanwhile."""
    save = checkpoints.Keeper.save

    def disturbed(self, trainer):
        if self.interruption is not None and self.interruption.requested:
            for name in names:
                signal.raise_signal(getattr(signal, name))
        save(self, trainer)

    monkeypatch.setattr(checkpoints.Keeper, "steps_apart", 1)
    monkeypatch.setattr(checkpoints.Keeper, "save", disturbed)
    monkeypatch.setattr(checkpoints.Keeper, "on_step_end", raising(*names))
    outcome = xpnet("train", *ARGUMENTS, "--batch-size", "256", "--out", "run")
    assert outcome.code == CODES[names[0]]
    assert "after epoch 1; the state is saved" in outcome.err


def test_a_signal_at_the_last_step_is_obeyed(xpnet, folder, monkeypatch):
    def on_fit_end(self, trainer, history):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(checkpoints.Keeper, "on_fit_end", on_fit_end)
    outcome = xpnet("train", *ARGUMENTS, "--out", "run")
    assert (outcome.code, "after epoch 4" in outcome.err) == (143, True)
    monkeypatch.undo()
    assert xpnet("resume", folder / "run").code == 0


@pytest.mark.parametrize("command", ["restarts", "resume", "prune", "lr-range", "evaluate"])
def test_all_commands_end_by_signals(command, xpnet, trained, monkeypatch):
    trained()

    def strike(*_, **__):
        signal.raise_signal(signal.SIGTERM)
        return ()

    arguments = {
        "restarts": ("train", *ARGUMENTS, "--restarts", "2", "--out", "two"),
        "resume": ("resume", "run", "--epochs", "4"),
        "prune": ("prune", "run", "--sparsity", "0.5", "--rounds", "2", "--epochs", "2"),
        "lr-range": ("lr-range", "two-gaussians", "--backend", "numpy"),
        "evaluate": ("evaluate", "run"),
    }[command]
    place = {
        "restarts": "xpnet.runs.checkpoints.CSVLog.on_epoch_end",
        "resume": "xpnet.runs.checkpoints.CSVLog.on_epoch_end",
        "prune": "xpnet.runs.pruning._Watch.on_epoch_end",
        "lr-range": "xpnet.cli.lr_range.prepare",
        "evaluate": "xpnet.runs.prediction.measure",
    }[command]
    monkeypatch.setattr(place, strike)
    outcome = xpnet(*arguments)
    assert (outcome.code, "Traceback" in outcome.err) == (143, False), outcome.err
    assert "interrupted" in outcome.err


def test_ignored_signals_stay_ignored_and_handlers_of_others_theirs():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    heard = []
    signal.signal(signal.SIGTERM, mine := lambda number, frame: heard.append(number))
    with Signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert (signals.exit_code, heard, signal.getsignal(signal.SIGTERM)) == (130, [signal.SIGTERM], mine)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_systems_without_sighup_and_other_threads(xpnet, monkeypatch):
    found = []
    with monkeypatch.context() as patch:
        patch.delattr(signal, "SIGHUP")
        with Signals() as signals:
            assert signals.exit_code == 130
    thread = threading.Thread(target=lambda: found.append(xpnet("train", "sine", "--print-config").code))
    thread.start()
    thread.join()
    assert found == [0]


# --------------------------------------------------------------------------------------- streams
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
TRAIN = ["train", *ARGUMENTS, "--out", "run"]


@pytest.mark.parametrize(
    ("redirected", "code"),
    [
        ("<&- >&- 2>&-", 0),
        pytest.param("2>/dev/full", 0, marks=pytest.mark.full),
        pytest.param("2>&1 | head -n 1", 0, marks=pytest.mark.full),
        pytest.param(">/dev/full", 1, marks=pytest.mark.full),
        pytest.param("2>&-", 0, marks=pytest.mark.full),
    ],
)
def test_streams_that_fail_end_no_training(redirected, code, folder):
    script = f'set -o pipefail; "$@" {redirected}; echo $? > code'
    subprocess.run(
        ["bash", "-c", script, "bash", sys.executable, "-m", "xpnet", *TRAIN],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert int(Path("code").read_text()) == code
    assert json.loads(Path("run/results.json").read_text())["epochs_trained"] == 4
    assert parameters("run").size  # nothing was printed into a checkpoint


@pytest.mark.parametrize(
    "ignored",
    [pytest.param(True, id="nohup", marks=pytest.mark.full), pytest.param(False, id="in the foreground")],
)
def test_a_terminal_that_is_closed(ignored, folder):
    """Without SIGHUP the training goes on to its end; with it the state is saved."""
    master, slave = pty.openpty()
    code = f"import os, signal\nos.open({os.ttyname(slave)!r}, os.O_RDWR)  # the terminal of this session\n"
    code += "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" if ignored else ""
    code += "import sys\nfrom xpnet.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *TRAIN, "--epochs", "400" if ignored else "1000000"]
    child = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=ENVIRONMENT, start_new_session=True
    )
    os.close(slave)
    deadline = time.monotonic() + 60
    while not Path("run/history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.close(master)
    try:
        code = child.wait(timeout=60)
    finally:
        child.kill()
    log = Path("run/train.log").read_text()
    found = code, "finished" in log, "by SIGHUP" in log
    assert found == ((0, True, False) if ignored else (129, False, True))
    assert parameters("run").size


def test_what_the_encoding_lacks_and_what_cannot_be_written(tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        stream = Patient(file)
        stream.write("R²\n")
        stream.flush()
    assert (tmp_path / "out").read_text() == "R\\xb2\n"
    assert stream.failure is None
    stream.write("more")  # to a closed file
    assert isinstance(stream.failure, ValueError)
    assert (Patient(None).write("x"), Patient(None).isatty()) == (1, False)


@pytest.mark.parametrize(
    ("number", "code", "said"), [(errno.EPIPE, 1, ""), (errno.ENOSPC, 1, "make room"), (errno.EIO, 1, "disk")]
)
def test_output_that_cannot_be_written(number, code, said, xpnet, monkeypatch):
    def write(text):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(commands, "env", lambda **_: print("versions"))
    monkeypatch.setattr(sys.stdout, "write", write)
    outcome = xpnet("env")
    assert (outcome.code, said in outcome.err, outcome.err == "") == (code, True, said == "")
