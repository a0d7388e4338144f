"""First-order optimizers beside torch.optim: the same trajectories on known problems, step by step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.optim.problems import PROBLEMS, logistic
from xpnet import compile, optim
from xpnet.autodiff import value_and_grad
from xpnet.data import digits_arrays

STEPS = 110


class Way(NamedTuple):
    """An optimizer in both spellings; None as rate stands for that of the problem, a stable one for SGD.

    ``decay`` is torch's weight_decay that is added to the gradient, which here is a penalty decay/2 · Σ x²
    in the objective. The decoupled decay of AdamW is an option of the optimizer.
    """

    make: Callable[..., optim.Optimizer]
    torch_name: str
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    torch_options: dict[str, Any] = {}  # noqa: RUF012
    rate: float | None = None
    decay: float = 0.0

    def settings(self) -> dict[str, Any]:
        """Return torch's options, where AdamW alone has a decay of its own."""
        return self.torch_options | ({"weight_decay": self.decay} if self.decay else {})


WAYS = {
    "SGD": Way(optim.SGD, "SGD"),
    "SGD, decay": Way(optim.SGD, "SGD", decay=0.1),
    "SGD, momentum": Way(optim.SGD, "SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    "SGD, momentum 0.5, decay": Way(optim.SGD, "SGD", {"momentum": 0.5}, {"momentum": 0.5}, decay=0.01),
    "SGD, Nesterov": Way(
        optim.SGD, "SGD", {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}
    ),
    "SGD, Nesterov, decay": Way(
        optim.SGD, "SGD", {"momentum": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}, decay=0.1
    ),
    "AdaGrad": Way(optim.AdaGrad, "Adagrad", rate=0.1),
    "AdaGrad, epsilon": Way(optim.AdaGrad, "Adagrad", {"epsilon": 0.01}, {"eps": 0.01}, 0.3),
    "AdaGrad, decay": Way(optim.AdaGrad, "Adagrad", rate=0.1, decay=0.1),
    "AdaDelta": Way(optim.AdaDelta, "Adadelta", rate=1.0),
    "AdaDelta, rho, epsilon": Way(
        optim.AdaDelta, "Adadelta", {"rho": 0.95, "epsilon": 1e-4}, {"rho": 0.95, "eps": 1e-4}, 0.5
    ),
    "AdaDelta, decay": Way(optim.AdaDelta, "Adadelta", rate=1.0, decay=0.1),
    "RMSProp": Way(optim.RMSProp, "RMSprop", rate=0.003),
    "RMSProp, rho, epsilon": Way(
        optim.RMSProp, "RMSprop", {"rho": 0.9, "epsilon": 1e-3}, {"alpha": 0.9, "eps": 1e-3}, 0.003
    ),
    "RMSProp, decay": Way(optim.RMSProp, "RMSprop", rate=0.003, decay=0.1),
    "Adam": Way(optim.Adam, "Adam", rate=0.01),
    "Adam, betas, epsilon": Way(
        optim.Adam, "Adam", {"beta1": 0.8, "beta2": 0.99, "epsilon": 1e-4},
        {"betas": (0.8, 0.99), "eps": 1e-4}, 0.03,
    ),
    "Adam, decay": Way(optim.Adam, "Adam", rate=0.01, decay=0.1),
    "AdamW": Way(optim.AdamW, "AdamW", rate=0.01),
    "AdamW, decay": Way(optim.AdamW, "AdamW", {"weight_decay": 0.3}, {"weight_decay": 0.3}, 0.01),
    "AdamW, no decay": Way(optim.AdamW, "AdamW", {"weight_decay": 0.0}, {"weight_decay": 0.0}, 0.01),
}  # fmt: skip


@functools.cache
def _digits() -> tuple[Callable[[Any], Any], list[float]]:
    """Return logistic regression of threes against eights in the built-in digits."""
    X, y = digits_arrays()
    chosen = (y == 3) | (y == 8)
    return logistic(X[chosen] / 16, np.where(y[chosen] == 3, 1.0, -1.0)), [0.0] * 64


@functools.cache
def _breast_cancer() -> tuple[Callable[[Any], Any], list[float]]:
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed: no such data")
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return logistic((X - X.mean(0)) / X.std(0), 2.0 * y - 1), [0.0] * 30


def _known(name: str) -> tuple[Callable[[Any], Any], list[float]]:
    return PROBLEMS[name].f, PROBLEMS[name].start


class Case(NamedTuple):
    """A function and where to start, a rate at which plain descent is stable, and a factor for other rates.

    Where steps are far above what the curvature allows, adaptive methods bounce, and differences in the last
    bit of a gradient (matrix products add up in another order) grow from step to step.
    """

    get: Callable[[], tuple[Callable[[Any], Any], list[float]]]
    stable: float
    factor: float = 1.0


CASES = {
    "rosenbrock 2": Case(lambda: _known("rosenbrock 2"), 5e-4),
    "quadratic 1e4": Case(lambda: _known("quadratic 1e4"), 1e-4, 0.02),
    "beale": Case(lambda: _known("beale"), 5e-3),
    "logistic, digits": Case(_digits, 0.05),
    "logistic, breast cancer": Case(_breast_cancer, 0.1),
}


def test_every_registered_optimizer_is_in_the_table():
    assert {way.make for way in WAYS.values()} == set(optim.OPTIMIZERS.values())


@pytest.mark.parametrize("problem", CASES)
@pytest.mark.parametrize("name", WAYS)
def test_the_trajectory_is_that_of_torch(name, problem):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    way, case = WAYS[name], CASES[problem]
    f, start = case.get()
    rate = case.factor * way.rate if way.rate else case.stable

    def objective(x: Any) -> Any:
        return f(x) + 0.5 * way.decay * (x @ x) if way.decay else f(x)

    ours, differentiate = way.make(rate, **way.options), compile(value_and_grad(objective))
    x = np.asarray(start)
    state = ours.init(x)
    tensor = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    theirs = getattr(torch.optim, way.torch_name)([tensor], lr=rate, **way.settings())
    first = value = None
    for step in range(STEPS):
        value, gradient = differentiate(x)
        first = value if first is None else first
        x, state = ours.update(gradient, state, x)
        theirs.zero_grad()
        f(tensor).backward()
        theirs.step()
        np.testing.assert_allclose(
            x, tensor.detach().numpy(), rtol=1e-8, atol=1e-8, err_msg=f"{name} on {problem}, step {step + 1}"
        )
    assert value < first
