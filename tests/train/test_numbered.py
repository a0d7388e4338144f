"""Checkpoints kept in the course of a training: which, when, and that each of them is one to go on from."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn
from xpnet.errors import CheckpointError, ConfigError, DivergedError
from xpnet.train import Callback, Checkpoints
from xpnet.train import checkpoint_callback as module

ROOT = Path(__file__).parents[2]
X, Y = class_data(24)
FIT = {"batch_size": 7, "validation": (X[:8], (Y[:8] + 1) % 3)}
DRAWN = nn.MLP([5], 3, activation="tanh", dropout=0.3, batch_norm=True)


def names(folder):
    return sorted(path.name.removesuffix(".safetensors") for path in Path(folder).iterdir())


@pytest.mark.parametrize(
    ("options", "epochs", "expected"),
    [
        ({}, 3, ["best", "epoch-000001", "epoch-000002", "epoch-000003"]),
        ({"every": 2, "best": False}, 6, ["epoch-000002", "epoch-000004", "epoch-000006"]),
        ({"every": 2, "best": False}, 5, ["epoch-000002", "epoch-000004", "epoch-000005"]),
        ({"every": 2, "keep_last": 2}, 7, ["best", "epoch-000006", "epoch-000007"]),
        ({"every": 1, "keep_last": 1}, 4, ["best", "epoch-000004"]),
        ({"every": 50}, 3, ["best", "epoch-000003"]),
        ({"every": "2h", "keep_last": 5}, 3, ["best", "epoch-000003"]),
    ],
    ids=str,
)
def test_which_are_kept(tmp_path, options, epochs, expected):
    make(callbacks=[Checkpoints(tmp_path, **options)]).fit(X, Y, epochs=epochs, **FIT)
    assert names(tmp_path) == expected


def test_by_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    class Passing(Callback):
        def on_epoch_end(self, trainer, row):
            now[0] += 10

    callbacks = [Passing(), Checkpoints(tmp_path, every="0.5m", best=False)]
    make(callbacks=callbacks).fit(X, Y, epochs=7, **FIT)
    assert names(tmp_path) == ["epoch-000003", "epoch-000006", "epoch-000007"]


@pytest.mark.parametrize("compile", ["auto", "off"])
def test_each_is_one_to_go_on_from(tmp_path, compile):
    straight = make(model=DRAWN, compile=compile)
    straight.fit(X, Y, epochs=5, **FIT)
    keeping = Checkpoints(tmp_path)
    saving = make(model=DRAWN, compile=compile, callbacks=[keeping])
    saving.fit(X, Y, epochs=5, **FIT)
    assert_same_training(saving, straight)
    for epoch in range(1, 6):
        loaded = Trainer.load(keeping.path(epoch), "numpy")
        assert loaded.epoch == epoch
        loaded.fit(X, Y, epochs=5, **FIT)
        assert_same_training(loaded, straight)
    best = Trainer.load(tmp_path / "best.safetensors", "numpy")
    assert best.epoch == straight.best.epoch
    assert (flat(best) == straight.best.variables.params.flat).all()


def test_an_older_one_goes_only_after_the_newer_is_written(tmp_path, monkeypatch):
    keeping = Checkpoints(tmp_path, keep_last=1, best=False)
    trainer = make(callbacks=[keeping])
    trainer.fit(X, Y, epochs=2)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CheckpointError, match="No space left"):
        trainer.fit(X, Y, epochs=3)
    assert names(tmp_path) == ["epoch-000002"]


@pytest.mark.parametrize("rollback", [True, False])
def test_a_training_that_is_cut_short(tmp_path, rollback):
    class Interrupting(Callback):
        def on_step_end(self, trainer, step, steps):
            if (trainer.epoch, step) == (3, 2):
                raise KeyboardInterrupt

    trainer = make(callbacks=[Interrupting(), Checkpoints(tmp_path, every=2)], rollback=rollback)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=9, batch_size=7)
    # without rollback there is no state after epoch 3 any more
    assert names(tmp_path) == ["epoch-000002", *(["epoch-000003"] if rollback else [])]


def test_a_diverged_training_leaves_its_last_good_state(tmp_path):
    class Spoiling(Callback):
        def on_epoch_end(self, trainer, row):
            if trainer.epoch == 2:
                trainer.variables = trainer.model.init(0, 3, "numpy", "float64")
                trainer.variables.params.flat[0] = float("nan")

    trainer = make(callbacks=[Checkpoints(tmp_path), Spoiling()])
    with pytest.raises(DivergedError):
        trainer.fit(X, Y, epochs=5)
    assert Trainer.load(tmp_path / "epoch-000002.safetensors", "numpy").predict(X).shape == (24,)


def test_checkpoints_of_another_training_are_not_touched(tmp_path):
    make(callbacks=[Checkpoints(tmp_path)]).fit(X, Y, epochs=3)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"later epochs than the trainer's 0, found epoch 3"):
        make(callbacks=[Checkpoints(tmp_path)]).fit(X, Y, epochs=2)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    newest = Trainer.load(tmp_path / "epoch-000003.safetensors", callbacks=[Checkpoints(tmp_path)])
    newest.fit(X, Y, epochs=4)
    assert names(tmp_path)[-1] == "epoch-000004"


def test_one_folder_for_several_calls_of_fit(tmp_path):
    trainer = make(callbacks=[Checkpoints(tmp_path, every=2, keep_last=2)])
    for epochs in (1, 2, 3, 5):
        trainer.fit(X, Y, epochs=epochs)
    assert names(tmp_path) == ["epoch-000004", "epoch-000005"]


@pytest.mark.parametrize("every", [0, -1, 1.5, True, "0s", "5", "5d", "m", "", None, "-3s"])
def test_intervals_that_cannot_be_meant(every):
    with pytest.raises(ConfigError, match=r"every: expected a number of epochs, .* found "):
        Checkpoints("folder", every=every)


def test_other_arguments_that_cannot_be_meant():
    with pytest.raises(ConfigError, match="keep_last: expected a whole number of at least 1"):
        Checkpoints("folder", keep_last=0)
    with pytest.raises(ConfigError, match="best: expected True or False"):
        Checkpoints("folder", best="yes")


SCRIPT = """
import os, signal, sys
from tests.train.test_numbered import DRAWN, FIT, X, Y
from tests.train.support import make
from xpnet.train import Checkpoints
seen, replace = 0, os.replace
def watched(source, target):
    global seen
    seen += 1
    if seen == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = watched
make(model=DRAWN, callbacks=[Checkpoints({folder!r}, keep_last=1)]).fit(X, Y, epochs=5, **FIT)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_killed_while_saving(tmp_path):
    script = SCRIPT.format(number=4, folder=str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=False
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    (newest,) = tmp_path.glob("epoch-*.safetensors")
    resumed, straight = Trainer.load(newest, "numpy"), make(model=DRAWN)
    assert 0 < resumed.epoch < 5
    for one in (resumed, straight):
        one.fit(X, Y, epochs=5, **FIT)
    assert_same_training(resumed, straight)
