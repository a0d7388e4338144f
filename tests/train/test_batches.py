"""Which rows each step sees: full batch, single samples, mini-batches, drawn anew or kept."""

from __future__ import annotations

import numpy as np
import pytest

from tests.train.support import class_data, flat, make
from xpnet import nn, optim, rng
from xpnet.errors import ConfigError
from xpnet.train import Callback
from xpnet.train.batches import Batches


def epochs_of(size, order, rows=10, epochs=3, seed=0):
    from xpnet import backend

    home = backend("numpy")
    plan = Batches(rows, size, order, rng.key(seed), home)
    return [
        [np.arange(rows) if order is None else order for order, _ in plan.epoch(number)]
        for number in range(1, epochs + 1)
    ]


@pytest.mark.parametrize("order", ["reshuffle", "fixed"])
@pytest.mark.parametrize("size", [None, 1, 3, 5, 10])
def test_each_row_comes_once_an_epoch(size, order):
    for batches in epochs_of(size, order):
        assert sorted(np.concatenate(batches).tolist()) == list(range(10))
        assert {len(batch) for batch in batches[:-1]} <= {size}
        assert len(batches[-1]) == (10 if size is None else (10 % size or size))


def test_reshuffled_batches_differ_between_epochs_and_fixed_ones_do_not():
    fresh, fixed = epochs_of(3, "reshuffle"), epochs_of(3, "fixed")
    as_lists = [[batch.tolist() for batch in epoch] for epoch in fresh]
    assert as_lists[0] != as_lists[1] != as_lists[2] != as_lists[0]
    kept = [[batch.tolist() for batch in epoch] for epoch in fixed]
    assert kept[0] == kept[1] == kept[2]
    assert kept[0] != [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


def test_an_order_of_ones_own():
    """The batches follow it; also when an epoch that diverges is looked at again."""
    asked = []

    def order(epoch):
        asked.append(epoch)
        return np.roll(np.arange(10), epoch)

    assert [batch.tolist() for batch in epochs_of(4, order)[1]] == [[8, 9, 0, 1], [2, 3, 4, 5], [6, 7]]
    assert asked == [1, 2, 3]
    X, Y = class_data(10)
    one, other = make(), make()
    one.fit(X, Y, epochs=2, batch_size=4, order=lambda epoch: np.arange(10)[::-1])
    other.fit(X[::-1], Y[::-1], epochs=2, batch_size=4, order=lambda epoch: np.arange(10))
    assert (flat(one) == flat(other)).all()


def test_draws_depend_on_the_seed_alone():
    def lists(seed):
        return [[batch.tolist() for batch in epoch] for epoch in epochs_of(4, "reshuffle", seed=seed)]

    assert lists(7) == lists(7) != lists(8)


def test_an_epoch_can_be_drawn_without_those_before_it():
    from xpnet import backend

    third = [b.tolist() for b in epochs_of(4, "reshuffle")[2]]
    plan = Batches(10, 4, "reshuffle", rng.key(0), backend("numpy"))
    assert [order.tolist() for order, _ in plan.epoch(3)] == third


def test_a_plan_goes_on_with_the_draws_of_the_same_one_before():
    from xpnet import backend

    def made(rows=10, size=4, order="reshuffle", seed=0):
        return Batches(rows, size, order, rng.key(seed), backend("numpy"))

    known = made()
    assert made().or_same(known) is known
    for other in (made(rows=11), made(size=5), made(order="fixed"), made(seed=1)):
        assert other.or_same(known) is other
    assert known.or_same(None) is known
    one_by_one = [
        [b.tolist() for number in range(first, first + 2) for b, _ in made().or_same(known).epoch(number)]
        for first in (1, 3, 2, 40, 41)
    ]
    afresh = [
        [b.tolist() for number in range(first, first + 2) for b, _ in made().epoch(number)]
        for first in (1, 3, 2, 40, 41)
    ]
    assert one_by_one == afresh


class Seen(Callback):
    """Notes what it is told."""

    def __init__(self):
        self.steps = []

    def on_step_end(self, trainer, step, steps):
        self.steps.append((step, steps))


@pytest.mark.parametrize(("size", "steps"), [(None, 1), (1, 10), (4, 3), (5, 2), (10, 1)])
def test_steps_of_an_epoch(size, steps):
    X, y = class_data(10)
    seen = Seen()
    trainer = make(callbacks=[seen])
    trainer.fit(X, y, epochs=2, batch_size=size)
    assert seen.steps == [(i, steps) for i in range(1, steps + 1)] * 2
    assert trainer.history["step"] == [steps, 2 * steps]


def linear_by_hand(X, y, W, orders, rate):
    """Stochastic gradient descent on the mean of (X W - y)², written out."""
    for order in orders:
        A, b = X[order], y[order, None]
        W = W - rate * 2 * A.T @ (A @ W - b) / len(b)
    return W


@pytest.mark.parametrize("order", ["reshuffle", "fixed"])
@pytest.mark.parametrize("size", [None, 1, 4, 10])
def test_steps_are_those_of_gradient_descent_written_by_hand(size, order):
    random = np.random.default_rng(5)
    X, y = random.normal(size=(10, 3)), random.normal(size=10)
    trainer = make(
        model=nn.Dense(1, bias=False), loss="squared_error", optimizer=optim.SGD(0.05), batches=order, seed=3
    )
    start = trainer.model.init(3, (3,), "numpy", "float64").params["weight"]
    trainer.fit(X, y, epochs=3, batch_size=size)
    plan = [rows for epoch in epochs_of(size, order, seed=3) for rows in epoch]
    np.testing.assert_allclose(
        trainer.variables.params["weight"], linear_by_hand(X, y, start, plan, 0.05), rtol=1e-12
    )


def test_a_batch_of_all_rows_is_the_full_batch_up_to_the_order_of_sums():
    X, y = class_data(12)
    whole, drawn = make(), make()
    whole.fit(X, y, epochs=4)
    drawn.fit(X, y, epochs=4, batch_size=12)
    np.testing.assert_allclose(flat(whole), flat(drawn), rtol=1e-9)


@pytest.mark.parametrize(("size", "steps", "rows"), [(4, 2, 8), (5, 2, 10), (10, 1, 10), (None, 1, 10)])
def test_rows_that_do_not_fill_a_batch_are_dropped(size, steps, rows):
    from xpnet import backend

    plan = Batches(10, size, "reshuffle", rng.key(0), backend("numpy"), drop_last=True)
    assert len(plan) == steps
    orders = [[order for order, _ in plan.epoch(number)] for number in (1, 2)]
    if size is not None:
        one, other = (np.concatenate([np.asarray(order) for order in epoch]) for epoch in orders)
        assert len(set(one.tolist())) == rows
        assert set(one.tolist()) != set(other.tolist()) or rows == 10
    X, y = class_data(10)
    trainer = make(drop_last=True)
    trainer.fit(X, y, epochs=2, batch_size=size)
    assert trainer.step == 2 * steps
    with pytest.raises(ConfigError, match="batch_size: expected at most the 10 training rows"):
        trainer.fit(X, y, epochs=3, batch_size=11)
