"""Threads that share a trainer: one trains, others are told; all of them may predict."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xpnet import Trainer, data, nn, optim
from xpnet.errors import ConfigError
from xpnet.train import Callback

X, Y = data.two_gaussians_arrays(n=200, seed=0)


class Waiting(Callback):
    """Holds a fit after its first epoch until it is let go."""

    def __init__(self) -> None:
        self.trains, self.go_on = threading.Event(), threading.Event()

    def on_epoch_end(self, trainer, row):
        self.trains.set()
        trainer.predict(X[:3])  # of the thread that trains
        self.go_on.wait(30)


def new(*callbacks, **options):
    return Trainer(
        nn.MLP([8], 2), "softmax_cross_entropy", optim.Adam(1e-2), metrics=["accuracy"], backend="numpy",
        callbacks=callbacks, **options,
    )  # fmt: skip


@pytest.mark.parametrize("compile", ["numpy", "off"])
def test_another_thread_is_refused_while_one_trains(compile, tmp_path):
    waiting, alone = Waiting(), new(compile=compile)
    alone.fit(X, Y, epochs=3, batch_size=20)
    trainer = new(waiting, compile=compile)
    with ThreadPoolExecutor(1) as pool:
        fit = pool.submit(trainer.fit, X, Y, epochs=3, batch_size=20)
        assert waiting.trains.wait(30)
        uses = {
            "fit": lambda: trainer.fit(X, Y, epochs=3),
            "partial_fit": lambda: trainer.partial_fit(X, Y),
            "predict": lambda: trainer.predict(X),
            "evaluate": lambda: trainer.evaluate(X, Y),
            "save": lambda: trainer.save(tmp_path / "model"),
            "copy": trainer.copy,
            "pickle": lambda: pickle.dumps(trainer),
            "reset": trainer.reset,
            "set_mask": lambda: trainer.set_mask(None),
        }
        for name, use in uses.items():
            with pytest.raises(ConfigError, match=r"another thread is training it.*trainer\.clone\(\)"):
                use()
            assert not (tmp_path / "model").exists(), name
        waiting.go_on.set()
        fit.result(30)
    np.testing.assert_array_equal(trainer.variables.params.flat, alone.variables.params.flat)
    trainer.callbacks = []
    assert copy.deepcopy(trainer).partial_fit(X, Y).rows[-1]["epoch"] == 4
    assert pickle.loads(pickle.dumps(trainer)).epoch == 3


def test_many_threads_that_train_one_trainer():
    """One of them trains; what the others get is the error, and the numbers are those of one thread."""
    waiting, alone = Waiting(), new()
    waiting.go_on.set()
    alone.fit(X, Y, epochs=20, batch_size=20)
    trainer = new(waiting)
    barrier = threading.Barrier(3)

    def fit(_):
        barrier.wait()
        try:
            trainer.fit(X, Y, epochs=20, batch_size=20)
        except ConfigError:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert any(pool.map(fit, range(3)))
    np.testing.assert_array_equal(trainer.variables.params.flat, alone.variables.params.flat)


def test_threads_that_predict_get_what_one_gets():
    trainer = new()
    trainer.fit(X, Y, epochs=3)
    sizes = [1, 7, 50, 200] * 12
    outputs = {n: np.asarray(trainer.outputs(X[:n])) for n in set(sizes)}
    values = {n: trainer.evaluate(X[:n], Y[:n]) for n in set(sizes)}
    trainer = pickle.loads(pickle.dumps(trainer))  # without programs yet

    def use(n):
        return n, np.asarray(trainer.outputs(X[:n])), trainer.evaluate(X[:n], Y[:n])

    with ThreadPoolExecutor(4) as pool:
        for n, found, measured in pool.map(use, sizes):
            np.testing.assert_allclose(found, outputs[n], rtol=1e-6)
            assert measured == pytest.approx(values[n], rel=1e-6)


def test_a_callback_may_train_its_trainer_again():
    class Again(Callback):
        def on_fit_end(self, trainer, history):
            if trainer.epoch < 4:
                trainer.fit(X, Y, epochs=trainer.epoch + 1)

    trainer = new(Again())
    trainer.fit(X, Y, epochs=2)
    assert trainer.epoch == 4
    with ThreadPoolExecutor(1) as pool:  # nobody holds it any more
        assert len(pool.submit(trainer.predict, X).result(30)) == len(X)
