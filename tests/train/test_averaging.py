"""Means of the weights: the numbers of PyTorch's, in validation, predictions, checkpoints, resumed fits."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import assert_same_training, class_data, flat, make
from xpnet import Trainer, nn, optim
from xpnet.errors import ConfigError
from xpnet.train import Callback, Checkpoints
from xpnet.train.averaging import effective_count

X, Y = class_data(24)
HELD_OUT = (X[:8], (Y[:8] + 1) % 3)
MODEL = nn.MLP([5], 3, activation="tanh", dropout=0.2, batch_norm=True)
FIT = {"batch_size": 7, "validation": HELD_OUT}
KINDS = {"ema": {"ema_decay": 0.8}, "swa": {"swa_start": 2}}


class Seen(Callback):
    """Keeps parameters and statistics after each step: those that are trained."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, trainer, step, steps):
        params, state = trainer.variables
        statistics = {} if not state else state["1"]
        self.seen.append([np.array(x) for x in (params.flat, *statistics.values())])


def torch_average(terms, **options):
    """Return the mean of terms, lists of arrays, as PyTorch makes it: of a parameter and buffers."""
    torch = pytest.importorskip("torch")
    module = torch.nn.Module()
    first, *rest = (torch.from_numpy(x.copy()) for x in terms[0])
    module.weights = torch.nn.Parameter(torch.zeros_like(first))
    for number, buffer in enumerate(rest):
        module.register_buffer(f"statistic{number}", torch.zeros_like(buffer))
    mean = torch.optim.swa_utils.AveragedModel(module, use_buffers=True, **options)
    for term in terms:
        with torch.no_grad():
            for there, value in zip([module.weights, *module.buffers()], term, strict=True):
                there.copy_(torch.from_numpy(value))
        mean.update_parameters(module)
    return [mean.module.weights.detach().numpy(), *(x.numpy() for x in mean.module.buffers())]


def averages(trainer):
    params, state = trainer.average.variables
    return [params.flat, *state["1"].values()]


def test_exponential_moving_averages_are_those_of_torch():
    """With PyTorch's own rule, whose first term weighs more: (1 - dⁿ) a + dⁿ θ₁; and with ours in it."""
    swa_utils = pytest.importorskip("torch.optim.swa_utils")
    trainer = make(model=MODEL, ema_decay=0.8, callbacks=[seen := Seen()])
    trainer.fit(X, Y, epochs=3, **FIT)
    n = len(seen.seen)
    assert trainer.average.terms == n == 12
    plain = torch_average(seen.seen, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.8))
    ours = torch_average(seen.seen, avg_fn=lambda a, p, k: a + (p - a) / effective_count(0.8, int(k) + 1))
    for found, theirs, first, same in zip(averages(trainer), plain, seen.seen[0], ours, strict=True):
        np.testing.assert_allclose((1 - 0.8**n) * found + 0.8**n * first, theirs, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found, same, rtol=1e-12, atol=1e-14)


def test_stochastic_weight_averages_are_those_of_torch():
    trainer = make(model=MODEL, swa_start=3, restore_best=False, callbacks=[seen := Seen()])
    for epochs in (2, 3, 6):  # before it, at its first epoch, and four epochs on
        trainer.fit(X, Y, epochs=epochs, **FIT)
        ends = seen.seen[11::4]
        expected = torch_average(ends) if ends else seen.seen[-1]
        found = averages(trainer) if ends else [trainer.variables.params.flat]
        for one, other in zip(found, expected, strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
        assert trainer.average.terms == len(ends)
        assert np.array_equal(flat(trainer), found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_is_validated_kept_and_stored(kind, tmp_path):
    """After each epoch: the history, a callback's predictions, a checkpoint and the best weights agree."""

    class Predicting(Callback):
        def on_epoch_end(self, trainer, row):
            found.append(trainer.evaluate(*HELD_OUT)["loss"])

    found = []
    options = {"model": MODEL, "metrics": ["accuracy"], **KINDS[kind]}
    trainer = make(callbacks=[Predicting(), kept := Checkpoints(tmp_path)], **options)
    trainer.fit(X, Y, epochs=5, **FIT)
    losses = trainer.history["validation_loss"]
    files = [Trainer.load(kept.path(epoch), "numpy") for epoch in range(1, 6)]
    assert losses == found == [loaded.evaluate(*HELD_OUT)["loss"] for loaded in files]
    best = 1 + int(np.argmin(losses))
    assert trainer.best.epoch == best
    assert trainer.evaluate(*HELD_OUT)["loss"] == min(losses)
    assert trainer.history["accuracy"][best - 1] == trainer.evaluate(X, Y)["accuracy"]
    stored = Trainer.load(tmp_path / "best.safetensors", "numpy")
    assert np.array_equal(flat(stored), flat(trainer))
    plain = make(model=MODEL)
    plain.fit(X, Y, epochs=5, **FIT)
    assert np.array_equal(plain.last.params.flat, trainer.last.params.flat)  # the steps are the same
    assert plain.history["validation_loss"] != losses


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"rollback": False}, {"compile": "off"}], ids=str)
def test_a_fit_that_is_cut_short_and_goes_on(kind, options):
    """Whatever ends an epoch, the trainer is as after the last whole one, or as it is then."""

    class Ending(Callback):
        def on_step_end(self, trainer, step, steps):
            if trainer.epoch == 2 and step == 3:
                raise KeyboardInterrupt

    straight = make(model=MODEL, **KINDS[kind])
    straight.fit(X, Y, epochs=5, **FIT)
    trainer = make(model=MODEL, callbacks=[Ending()], **KINDS[kind], **options)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=5, **FIT)
    if not options.get("rollback", True):
        assert trainer.last is None
        trainer = make(model=MODEL, **KINDS[kind], **options)
    else:
        assert trainer.evaluate(*HELD_OUT)["loss"] == trainer.history["validation_loss"][-1]
        trainer.callbacks = []
    trainer.fit(X, Y, epochs=5, **FIT)
    assert_same_training(trainer, straight)


@pytest.mark.parametrize("kind", KINDS)
def test_on_every_backend(backend, kind):
    options = {"model": MODEL, "dtype": "float32", "optimizer": optim.SGD(0.1), **KINDS[kind]}
    one, reference = make(backend=backend, **options), make(**options)
    for trainer in (one, reference):
        trainer.fit(X, Y, epochs=3, **FIT)
    np.testing.assert_allclose(flat(one), flat(reference), rtol=1e-4, atol=1e-5)
    assert one.average.terms == reference.average.terms


@pytest.mark.parametrize(
    ("options", "terms"), [({"ema_decay": 0.5}, 4), ({"optimizer": "l-bfgs", "ema_decay": 0.5}, 4)], ids=str
)
def test_full_batches_and_methods_of_second_order(options, terms):
    trainer = make(callbacks=[seen := Seen()], **options)
    trainer.fit(X, Y, epochs=4, batch_size=None)
    weights = 0.5 ** np.arange(terms)[::-1]
    expected = weights @ np.stack([params for params, *_ in seen.seen]) / weights.sum()
    np.testing.assert_allclose(flat(trainer), expected, rtol=1e-10, atol=1e-12)


def test_a_mean_that_begins_later_and_ends():
    """It takes the terms from where it is asked for; without it the newest weights predict again."""
    trainer = make(callbacks=[seen := Seen()])
    trainer.fit(X, Y, epochs=1, batch_size=8)
    trainer.ema_decay = 0.5
    trainer.fit(X, Y, epochs=2, batch_size=8)
    weights = np.asarray([0.25, 0.5, 1.0]) / 1.75
    expected = weights @ np.stack([params for params, *_ in seen.seen[3:]])
    np.testing.assert_allclose(flat(trainer), expected, rtol=1e-12)
    trainer.ema_decay = None
    trainer.fit(X, Y, epochs=3, batch_size=8)
    assert trainer.average is trainer.last is None
    assert np.array_equal(flat(trainer), seen.seen[-1][0])
    trainer.fit(X, Y, epochs=3, batch_size=8)  # nothing is left to train


def test_a_fit_with_nothing_left_predicts_with_the_mean():
    trainer = make(ema_decay=0.9)
    trainer.fit(X, Y, epochs=2, batch_size=8)
    before = flat(trainer)
    trainer.fit(X, Y, epochs=2, batch_size=8)
    assert np.array_equal(flat(trainer), before)


@pytest.mark.parametrize("kind", KINDS)
def test_pruned_weights_stay_zero_in_the_mean(kind):
    trainer = make(**KINDS[kind])
    trainer.fit(X, Y, epochs=3, batch_size=8)
    mask = np.arange(trainer.variables.params.layout.size) % 2
    trainer.set_mask(mask)
    assert trainer.average is None
    trainer.fit(X, Y, epochs=6, batch_size=8)
    assert not flat(trainer)[mask == 0].any()
    assert flat(trainer)[mask == 1].all()


def test_one_mean_at_a_time():
    with pytest.raises(ConfigError, match="swa_start: expected one mean of the weights, found ema_decay"):
        make(ema_decay=0.9, swa_start=3)
