"""Slices through the loss as a function of the parameters: along a line, and over a plane."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xpnet import checks, rng
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Layout, Parameters
from xpnet.train.diagnostics.trial import begun_copy
from xpnet.train.evaluation import Evaluation
from xpnet.train.members import of_rows
from xpnet.train.rows import Rows
from xpnet.train.targets import mean_loss
from xpnet.train.trainer import Trainer

__all__ = ["Line", "Plane", "filter_normalized", "line", "plane"]


class Line(NamedTuple):
    """Losses (points,) at θ + t δ, for the steps t (points,); float64 host arrays."""

    steps: np.ndarray
    losses: np.ndarray


class Plane(NamedTuple):
    """Losses (points, points) at θ + aᵢ δ + bⱼ η, for the steps a and b (points,); float64 host arrays."""

    first: np.ndarray
    second: np.ndarray
    losses: np.ndarray


def line(
    trainer: Trainer,
    X: Any,
    y: Any,
    direction: Any = None,
    *,
    to: Any = None,
    low: float | None = None,
    high: float | None = None,
    points: int = 51,
    seed: int = 0,
    sample_weight: Any = None,
) -> Line:
    """Return the loss along a line through the trainer's parameters θ: L(θ + t δ).

    The loss is the mean over the rows, without penalties and outside training mode. The trainer stays as it
    is.

    Args:
        trainer: trained or not.
        X, y, sample_weight: rows, as for :meth:`xpnet.Trainer.evaluate`.
        direction: δ, a vector like the parameters (an array of any backend, or
            :class:`~xpnet.parameters.Parameters`); None draws a random one, `filter_normalized`.
        to: parameters θ₁ in place of a direction: δ = θ₁ - θ, which t = 1 reaches.
        low, high: first and last t; not given: -1 and 1, or with ``to`` 0 and 1.
        points: number of values of t.
        seed: of the random direction.

    Raises:
        ConfigError: a vector that is not like the parameters, both ``direction`` and ``to``, an empty range.
        DataError: arrays that do not fit or are not finite.

    Example:
        >>> import numpy as np
        >>> from xpnet import Trainer, nn
        >>> model = nn.Sequential(nn.Dense(1, bias=False, weight_init="zeros"))
        >>> trainer = Trainer(model, "squared_error", backend="numpy")
        >>> steps, losses = line(trainer, np.ones((2, 1)), np.ones(2), np.ones(1), points=3)
        >>> steps.tolist(), losses.tolist()
        ([-1.0, 0.0, 1.0], [4.0, 1.0, 0.0])

    Source: Goodfellow et al., "Qualitatively characterizing neural network optimization problems", ICLR 2015.
    """
    if direction is not None and to is not None:
        raise ConfigError("line: expected a direction or where to go to, found both; leave one out")
    other, rows = begun_copy(trainer, X, y, sample_weight)
    start = other.variables.params
    if to is not None:
        delta = _vector(other, "to", to) - start.flat
    elif direction is not None:
        delta = _vector(other, "direction", direction)
    else:
        delta = _vector(other, "direction", filter_normalized(_on_host(other), seed))
    steps = _range(low, high, points, 0.0 if to is not None else -1.0)
    losses = _losses(other, rows, (start.flat + float(t) * delta for t in steps))
    return Line(steps, losses)


def plane(
    trainer: Trainer,
    X: Any,
    y: Any,
    directions: tuple[Any, Any] | None = None,
    *,
    low: float = -1.0,
    high: float = 1.0,
    points: int = 21,
    seed: int = 0,
    sample_weight: Any = None,
) -> Plane:
    """Return the loss over a plane through the trainer's parameters θ: L(θ + a δ + b η).

    Args:
        trainer, X, y, low, high, sample_weight: as for `line`.
        directions: δ and η; None draws two random ones, `filter_normalized`.
        points: number of values of a, and of b.
        seed: of the random directions.

    Raises:
        ConfigError, DataError: as for `line`.

    Source: Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018.
    """
    if directions is not None and (not isinstance(directions, (tuple, list)) or len(directions) != 2):
        raise ConfigError(f"directions: expected a pair of vectors, found {type(directions).__name__}")
    other, rows = begun_copy(trainer, X, y, sample_weight)
    start = other.variables.params
    if directions is None:
        host = _on_host(other)
        directions = filter_normalized(host, seed), filter_normalized(host, seed, number=1)
    first, second = (_vector(other, "directions", direction) for direction in directions)
    steps = _range(low, high, points, -1.0)
    places = (start.flat + float(a) * first + float(b) * second for a in steps for b in steps)
    losses = _losses(other, rows, places).reshape(points, points)
    return Plane(steps, steps.copy(), losses)


def filter_normalized(parameters: Parameters, seed: int = 0, *, number: int = 0) -> np.ndarray:
    """Return a random direction in which the change of each unit has the norm of its weights.

    A normal draw d is scaled, for each unit j with the weights wⱼ into it: δⱼ = dⱼ ‖wⱼ‖ / ‖dⱼ‖. So networks
    whose weights differ only in scale (as ReLU and BatchNorm allow) are compared over the same range. Biases,
    scales and shifts stay: their δ is 0.

    Args:
        parameters: host arrays; weights (in_features, out_features).
        seed: of the draw.
        number: which of several directions of one seed.

    Returns:
        A float64 host vector like ``parameters.flat``.

    Source: Li et al. 2018, section 4.
    """
    layout: Layout = parameters.layout
    drawn = rng.normal(rng.key(seed).fold("direction", number), (layout.size,))
    direction = np.zeros(layout.size)
    for part, shape in layout.slices:
        if len(shape) > 1:
            d = drawn[part].reshape(-1, shape[-1])
            w = np.asarray(parameters.flat[part], dtype=np.float64).reshape(-1, shape[-1])
            direction[part] = (d * np.linalg.norm(w, axis=0) / np.linalg.norm(d, axis=0)).reshape(-1)
    return direction


def _on_host(trainer: Trainer) -> Parameters:
    params = trainer.variables.params
    return Parameters(trainer.backend.to_host(params.flat), params.layout)


def _vector(trainer: Trainer, name: str, vector: Any) -> Any:
    """Return a vector like the parameters on the trainer's device."""
    vector = vector.flat if isinstance(vector, Parameters) else vector
    size = trainer.variables.params.layout.size
    if tuple(getattr(vector, "shape", ())) != (size,):
        found = getattr(vector, "shape", type(vector).__name__)
        raise ConfigError(
            f"{name}: expected a vector of shape ({size},) like the parameters, found {found}; pass one such "
            "as trainer.variables.params"
        )
    return trainer.backend.asarray(vector, dtype=trainer.setup.dtype)


def _range(low: float | None, high: float | None, points: int, default: float) -> np.ndarray:
    low, high = default if low is None else float(low), 1.0 if high is None else float(high)
    if not -np.inf < low < high < np.inf:
        raise ConfigError(f"high: expected a finite number above low = {low}, found {high}; widen the range")
    return np.linspace(low, high, checks.count("points", points))


def _losses(trainer: Trainer, rows: Rows, places: Any) -> np.ndarray:
    """Return the loss at each flat vector, on the host; one transfer."""
    evaluation, setup, found = Evaluation(), trainer.setup, []
    params, state = trainer.variables
    with setup.backend.activate():
        for flat in places:
            variables = Variables(Parameters(flat, params.layout), state)
            outputs = evaluation.outputs(setup, variables, rows.X, rows.weight, again=True)
            found.append(mean_loss(setup.loss, outputs, rows.y, sample_weight=of_rows(rows.weight)))
        return setup.backend.to_host(setup.backend.xp.stack(found)).astype(np.float64)
