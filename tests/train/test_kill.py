"""Killed in the middle of an epoch, a training resumes from its last save to the very same parameters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.support import assert_same_training, class_data, make
from xpnet import Trainer, nn, optim

ROOT = Path(__file__).parents[2]
X, Y = class_data(60)
FIT = {"batch_size": 7, "validation": 0.2}

SCRIPT = """
import os, signal, sys
sys.path.insert(0, {root!r})
from tests.train.test_kill import FIT, X, Y, new
from xpnet.train import Callback

class KillAt(Callback):
    def on_step_end(self, trainer, step, steps):
        if (trainer.epoch + 1, step) == ({epoch}, {step}):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_end(self, trainer, row):
        trainer.save({folder!r})

new(callbacks=[KillAt()]).fit(X, Y, epochs=6, **FIT)
"""


def new(**options):
    model = nn.MLP([6], 3, activation="tanh", dropout=0.2, batch_norm=True)
    return make(model=model, optimizer=optim.Adam(0.02), patience=5, seed=4, **options)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.parametrize(("epoch", "step"), [(2, 1), (4, 3)])
def test_kill_and_resume(tmp_path, epoch, step):
    script = SCRIPT.format(root=str(ROOT), folder=str(tmp_path), epoch=epoch, step=step)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    resumed = Trainer.load(tmp_path, "numpy")
    assert resumed.epoch == epoch - 1
    resumed.fit(X, Y, epochs=6, **FIT)
    straight = new()
    straight.fit(X, Y, epochs=6, **FIT)
    assert_same_training(resumed, straight)
