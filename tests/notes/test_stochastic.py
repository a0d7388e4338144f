"""Note 001, section 3, and note 004, section 19.121: what is said of stochastic descent, checked."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scripts.experiments import report, stochastic
from scripts.experiments.convergence import Descent, bound
from tests.notes.pages import DOCS, assert_shown
from tests.support import draw
from xpnet import Trainer, losses, nn, optim, record
from xpnet.autodiff import grad
from xpnet.backends import array_namespace
from xpnet.nn import Variables
from xpnet.train import Callback

STEPS, SEEDS = 300, 1500

DESCENTS = pytest.mark.parametrize(
    "descent",
    [
        Descent(tuple(strength * ratio for ratio in ratios), noise, start)
        for strength in (0.25, 1.0, 4.0)
        for noise in (0.1, 2.0)
        for ratios, start in (((1.0,), 0.5), ((1.0, 1.0, 1.0), 2.0), ((1.0, 2.0, 3.0), 1.0))
    ],
    ids=lambda d: f"{d.curvatures}-{d.noise:g}",
)


# --- The bound -----------------------------------------------------------------------------------------


@DESCENTS
def test_the_bound_holds_in_expectation_and_for_the_mean_of_many_descents(descent):
    expected, gradients = descent.expected(descent.schedule(), STEPS)
    upper = bound(descent.strength, gradients)[:-1]
    assert (expected[1:] <= upper * (1 + 1e-12)).all()

    sampled = descent.sample(descent.schedule(), STEPS, SEEDS)
    mean, error = sampled.mean(axis=1), sampled.std(axis=1, ddof=1) / np.sqrt(SEEDS)
    # Five standard errors, at every n: by chance once in thousands of runs, and the seed is fixed.
    assert (abs(mean - expected)[1:] <= 5 * error[1:]).all()
    assert (mean[1:] - 5 * error[1:] <= upper).all()
    assert (mean + 5 * error)[-1] < upper[-1]


@DESCENTS
def test_the_error_goes_to_zero_as_the_logarithm_over_n(descent):
    expected, _ = descent.expected(descent.schedule(), 6000)
    assert expected[-1] < 0.02 * expected[1]
    n = np.arange(1000, 6001)
    constants = expected[n - 1] * n / np.log(n)
    assert constants.max() < 1.6 * constants.min()


@pytest.mark.parametrize("strength", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_bound_is_not_vacuous(strength, noise):
    """With all curvatures ℓ, and a start as far away as the noise brings one, it is close at every n."""
    descent = Descent((strength,), noise, start=noise / strength)
    expected, gradients = descent.expected(descent.schedule(), 3000)
    ratio = bound(strength, gradients)[:-1] / expected[1:]
    assert ratio[0] == pytest.approx(1.0, rel=1e-12)  # d₂ = S
    assert ratio.max() < 2.1


def test_the_recurrence_of_the_note_gives_its_closed_form():
    """d_{k+1} = (1 - 1/k) d_k + S/k² is S/(n-1) Σ 1/j, whatever d₁ is; and S ln(n)/n is below it."""
    s, d, harmonic = 3.7, 1e9, 0.0
    for k in range(1, 2000):
        d = (1 - 1 / k) * d + s / k**2
        n = k + 1
        harmonic += 1 / k
        assert d == pytest.approx(s / (n - 1) * harmonic, rel=1e-12)
        assert d > s * np.log(n) / n
    assert d < 1.1 * s * np.log(n) / n


@DESCENTS
def test_a_constant_rate_stays_at_its_floor_where_the_schedule_goes_below(descent):
    rate = 0.1 / descent.strength
    floor = descent.floor(rate)
    expected, _ = descent.expected(rate, STEPS)
    assert expected[-1] == pytest.approx(floor, rel=1e-6)
    sampled = descent.sample(rate, STEPS, SEEDS)[-1]
    error = sampled.std(ddof=1) / np.sqrt(SEEDS)
    assert abs(sampled.mean() - floor) < 5 * error
    there = dataclasses.replace(descent, start=np.sqrt(floor / len(descent.curvatures)))
    falling = there.sample(descent.schedule(), STEPS, SEEDS)[-1]
    assert falling.mean() + 5 * falling.std(ddof=1) / np.sqrt(SEEDS) < 0.3 * floor


def test_strong_convexity_leaves_gradients_without_a_bound():
    """‖∇f(w)‖ ≥ ℓ‖w - w*‖: E‖G‖² ≤ M² can hold along a descent, and not for all w."""
    descent = Descent((1.0, 3.0), noise=1.0, start=1.0)
    for far in (1.0, 1e3, 1e6):
        _, (squared, *_) = Descent(descent.curvatures, 1.0, far).expected(0.1, 1)
        assert squared >= descent.strength**2 * 2 * far**2


def test_the_gradient_is_unbiased_given_the_past_and_not_without():
    """E[G_k | past] = ∇f(w_k) for every w_k; E[G_k] alone is one number, ∇f(w_k) another in each descent."""
    descent = Descent((1.0,), noise=1.0, start=3.0)
    draws = np.random.default_rng(0)
    pasts = draws.normal(size=50)  # w₂ of fifty descents
    later = pasts[:, None] * descent.curvatures + draws.normal(size=(50, 20_000))
    np.testing.assert_allclose(later.mean(axis=1), pasts, atol=0.04)
    assert abs(later.mean() - pasts).max() > 1


# --- Logistic regression: sampled rows, no quadratic ----------------------------------------------------

N, PENALTY = 40, 0.05
X = draw(3, (N, 2))
LABELS = np.where(X @ np.asarray([1.0, -2.0]) + draw(4, (N,)) > 0, 1.0, -1.0)


def _row_losses(w: Any, X: Any, labels: Any) -> Any:
    """Return log(1 + exp(-y x·w)) + λ w·w, which is 2λ-strongly convex, of each row: w (seeds, 2)."""
    xp = array_namespace(w)
    margins = labels * xp.sum(w * X, axis=-1)
    return xp.logaddexp(xp.zeros_like(margins), -margins) + PENALTY * xp.sum(w * w, axis=-1)


def test_the_bound_holds_for_logistic_regression_on_sampled_rows():
    """G is the gradient of 4 rows, drawn independently for each of 400 descents and each step."""
    strength, seeds, steps, size = 2 * PENALTY, 400, 200, 4

    def total(w: Any) -> Any:
        xp = array_namespace(w)
        return xp.sum(_row_losses(w, X, LABELS)) / N

    minimum = optim.minimize(total, np.zeros(2), method="newton").x

    def mean_loss(w: Any, rows: Any) -> Any:  # summed over descents, so that each has its own gradient
        xp = array_namespace(w)
        return xp.sum(_row_losses(w[:, None, :], X[rows], LABELS[rows])) / size

    gradient = grad(mean_loss)
    optimizer, draws = optim.SGD(optim.Inverse(1 / (2 * strength))), np.random.default_rng(0)
    w = np.zeros((seeds, 2))
    state = optimizer.init(w)
    errors, squares = [], []
    for _ in range(steps):
        errors.append(np.sum((w - minimum) ** 2, axis=1))
        g = gradient(w, draws.integers(0, N, (seeds, size)))
        squares.append(np.sum(g * g, axis=1))
        w, state = optimizer.update(g, state, w)
    upper = bound(strength, np.mean(squares, axis=1))[:-1]
    distances = np.stack(errors)[1:]
    margin = 5 * distances.std(axis=1, ddof=1) / np.sqrt(seeds)
    assert (distances.mean(axis=1) - margin <= upper).all()
    assert distances[-1].mean() < 0.05 * distances[0].mean()
    # A rate that does not fall stays away from the minimum of all rows.
    w, constant = np.tile(minimum, (seeds, 1)), optim.SGD(0.5)
    state = constant.init(w)
    for _ in range(steps):
        w, state = constant.update(gradient(w, draws.integers(0, N, (seeds, size))), state, w)
    assert np.sum((w - minimum) ** 2, axis=1).mean() > 5 * distances[-1].mean()


# --- The same by the trainer ----------------------------------------------------------------------------

TARGETS = X @ np.asarray([1.0, -2.0]) + 0.5 * draw(5, (N,))
RIDGE = 0.2


class _Squares(Callback):
    """Keeps the mean squared norm over the rows of the gradient of a single row, at each step."""

    def __init__(self) -> None:
        self.found = [self._at(np.zeros(2))]

    def _at(self, w: np.ndarray) -> float:
        rows = 2 * (X @ w - TARGETS)[:, None] * X + 2 * RIDGE * w
        return float(np.mean(np.sum(rows**2, axis=1)))

    def on_step_end(self, trainer: Trainer, step: int, steps: int) -> None:
        self.found.append(self._at(np.asarray(trainer.variables.params.flat)))


def test_the_trainer_on_single_rows_stays_below_the_bound():
    """Ridge regression, batch size 1, α_k = 1/(2ℓk); epochs go through all rows in an order of their own."""
    hessian = 2 / N * X.T @ X + 2 * RIDGE * np.eye(2)
    minimum = np.linalg.solve(hessian, 2 / N * X.T @ TARGETS)
    strength = float(np.linalg.eigvalsh(hessian)[0])
    found, squares = [], []
    for seed in range(25):
        watching = _Squares()
        trainer = Trainer(
            nn.Dense(1, bias=False, weight_init="zeros"), "squared_error",
            optim.SGD(optim.Inverse.strongly_convex(strength)), backend="numpy", dtype="float64", seed=seed,
            l2=RIDGE, callbacks=[watching], compile="numpy", progress=False,
        )  # fmt: skip
        trainer.fit(X, TARGETS, epochs=4, batch_size=1)
        found.append(np.sum((np.asarray(trainer.variables.params.flat) - minimum) ** 2))
        squares.append(watching.found)
    upper = bound(strength, np.mean(squares, axis=0))[-2]
    assert np.mean(found) < upper < np.sum(minimum**2)
    assert np.mean(found) < 0.02 * np.sum(minimum**2)


def test_stochastic_descent_ends_where_full_batches_end():
    """Note 004: with falling rates it converges to the estimate of the full batch."""
    ends = []
    for size, rate, epochs in ((None, 0.3, 300), (1, optim.Inverse(0.1, decay=0.02), 200)):
        trainer = Trainer(
            nn.Dense(1), "squared_error", optim.SGD(rate), backend="numpy", dtype="float64", l2=RIDGE,
            compile="numpy", progress=False,
        )  # fmt: skip
        trainer.fit(X, TARGETS, epochs=epochs, batch_size=size)
        ends.append(np.asarray(trainer.variables.params.flat))
    np.testing.assert_allclose(ends[1], ends[0], atol=0.02)


# --- A subset's gradient --------------------------------------------------------------------------------


def _network_gradients(rows: int) -> tuple[np.ndarray, Callable[[Any], np.ndarray]]:
    """Return each row's own gradient of a tanh network, and the function from row numbers to a batch's."""
    model = nn.MLP([3], 2, activation="tanh")
    params, state = model.init(0, 3, "numpy", "float64")
    X, y = draw(6, (rows, 3)), np.arange(rows) % 2

    def batch(numbers: Any) -> np.ndarray:
        chosen = np.asarray(numbers)
        return grad(
            lambda p: losses.softmax_cross_entropy(model.apply(Variables(p, state), X[chosen]), y[chosen])
        )(params).flat

    return np.stack([batch([i]) for i in range(rows)]), batch


def test_the_gradient_of_the_mean_is_the_mean_of_the_gradients():
    each, batch = _network_gradients(8)
    np.testing.assert_allclose(batch(range(8)), each.mean(axis=0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_subset_estimates_the_gradient_without_bias_and_with_variance_of_one_over_its_size(size):
    """All subsets of 8 rows, so that means over them are the expectations: V/m (n - m)/(n - 1)."""
    rows = 8
    each, batch = _network_gradients(rows)
    subsets = np.stack([batch(chosen) for chosen in itertools.combinations(range(rows), size)])
    np.testing.assert_allclose(subsets.mean(axis=0), each.mean(axis=0), rtol=1e-12, atol=1e-15)
    error = np.mean(np.sum((subsets - each.mean(axis=0)) ** 2, axis=1))
    of_rows = np.mean(np.sum((each - each.mean(axis=0)) ** 2, axis=1))
    assert error == pytest.approx(of_rows / size * (rows - size) / (rows - 1), rel=1e-12)


def test_variance_falls_with_the_size_where_rows_are_drawn_independently():
    each, _ = _network_gradients(64)
    draws = np.random.default_rng(0)
    variances = {}
    for size in (1, 4, 16, 64):
        drawn = each[draws.integers(0, 64, (4000, size))].mean(axis=1)
        variances[size] = np.sum(drawn.var(axis=0))
    for size in (4, 16, 64):
        assert variances[1] / variances[size] == pytest.approx(size, rel=0.1)


def test_the_work_of_a_gradient_is_linear_in_its_rows():
    """Operations of the recorded gradient; memory grows along."""
    model = nn.MLP([16], 4)
    params, state = model.init(0, 8, "numpy", "float64")
    flops, sizes = [], []
    for rows in (100, 200, 400):
        X, y = draw(7, (rows, 8)), np.arange(rows) % 4
        program = record(
            lambda flat, X, y: (
                grad(lambda p: losses.softmax_cross_entropy(model.apply(Variables(p, state), X), y))(
                    type(params)(flat, params.layout)
                ).flat
            )
        )(params.flat, X, y)
        flops.append(program.flops)
        sizes.append(program.bytes)
    for counted in (flops, sizes):
        fixed = 2 * counted[0] - counted[1]
        assert counted[2] == pytest.approx(4 * (counted[0] - fixed) + fixed, rel=1e-3)
        assert fixed < 0.1 * counted[0]


# --- Equal work -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worked():
    return {name: stochastic.train(size, rate) for name, (size, rate) in stochastic.BATCHES.items()}


def test_fewer_rows_a_step_reach_a_lower_loss_at_equal_work(worked):
    full, mini, single = worked.values()
    assert (np.asarray(single) < np.asarray(mini)).all()
    assert (np.asarray(mini) < np.asarray(full)).all()
    assert single[2] < mini[2] / 2 < full[2] / 6


def test_full_batches_have_no_better_rate():
    """The rate of each batch size is the best of `RATES`; here for the full batch, the one that loses."""
    size, chosen = stochastic.BATCHES["full batch"]
    ends = {rate: stochastic.train(size, rate)[-1] for rate in stochastic.RATES}
    assert min(ends, key=ends.__getitem__) == chosen


def test_redundant_rows_help_small_batches_alone():
    """Each row four times: the full gradient is the same, small batches take four times as many steps."""
    for name, (size, rate) in stochastic.BATCHES.items():
        once, fourfold = (stochastic.train(size, rate, 3, rows=180, copies=copies) for copies in (1, 4))
        if name == "full batch":
            np.testing.assert_allclose(fourfold, once, rtol=1e-9)
        else:
            assert fourfold[-1] < 0.75 * once[-1]


def test_the_page_has_these_numbers(worked):
    steps = {name: -(-1797 // (size or 1797)) for name, (size, _) in stochastic.BATCHES.items()}
    assert_shown(DOCS / "stochastic.md", report.work_table(worked, steps))


def test_pictures_are_of_what_is_said():
    titles = [panel.title for panel in report.convergence_panels([Descent((1.0,), 1.0, 1.0)], 50, 20, 0.1)]
    shown = (DOCS / "images" / "stochastic-bound.svg").read_text(encoding="utf-8")
    assert all(title in shown for title in titles)
    work = (DOCS / "images" / "stochastic-work.svg").read_text(encoding="utf-8")
    assert all(name in work for name in stochastic.BATCHES)
    assert max(len(shown), len(work)) < 60_000
