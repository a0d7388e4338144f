"""Whole hidden units removed: matrices that are truly smaller."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, suggest
from xpnet.nn import BatchNorm, Dense, Layer, LayerNorm, Scale, Variables
from xpnet.parameters import Layout, Parameters
from xpnet.prune.layers import Placed, in_order, keeps_units, replaced
from xpnet.train import Trainer
from xpnet.train.checkpoint_file import flatten, unflatten

__all__ = ["CRITERIA", "hidden_widths", "prune_units", "remove_units"]

Criterion = Callable[[Any, Any], Any]
_Cuts = dict[str, list[tuple[int, Any]]]  # of each array, along which axes which entries are kept


def _norms(matrix: Any, axis: int) -> Any:
    xp = array_namespace(matrix)
    return xp.sqrt(xp.sum(matrix * matrix, axis=axis))


CRITERIA: dict[str, Criterion] = {
    "norm": lambda incoming, outgoing: _norms(incoming, 0) * _norms(outgoing, 1),
    "incoming": lambda incoming, outgoing: _norms(incoming, 0),
    "outgoing": lambda incoming, outgoing: _norms(outgoing, 1),
}
"""Scores (units,) from the weights to the units (in_features, units) and from them (units, out_features)."""


def prune_units(
    trainer: Trainer, remove: float | Sequence[int], *, criterion: str | Criterion = "norm"
) -> Trainer:
    """Return a trainer of a smaller network, without the hidden units that matter least.

    A hidden unit is a column of a Dense layer's weights, the entry of its bias, the entries of the
    normalization behind it, and a row of the next Dense layer's weights. All of these are cut out, of the
    optimizer's state as well. Outputs stay the same, up to rounding, if what is removed had no weights to
    the next layer and there is no LayerNorm, which divides by the spread of all units.

    Args:
        trainer: one that has been trained; it stays as it is.
        remove: the share of the units that each hidden layer loses, rounded to a whole number, or how many
            for each of them. A layer keeps one unit at least; the output layer keeps all.
        criterion: units of the lowest score go, of equal ones the first: ``"norm"``, the product of the
            Euclidean norms of the weights to and from a unit, which does not change if a ReLU network is
            rescaled; ``"incoming"`` or ``"outgoing"``, one of the two; or a function of both matrices
            ``(incoming (in_features, units), outgoing (units, out_features)) -> scores (units,)``. Behind a
            BatchNorm or LayerNorm, which takes the size of the incoming weights away, they are multiplied
            with its scale divided by their norm.

    Returns:
        A new trainer with the same settings, which goes on where the given one is.

    Raises:
        ConfigError: no hidden Dense layer, a layer that cannot be cut, or numbers that do not fit.

    Example:
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import two_gaussians_arrays
        >>> X, y = two_gaussians_arrays(n=200, seed=0)
        >>> trainer = Trainer(nn.MLP([8, 8], 2), "softmax_cross_entropy", backend="numpy")
        >>> history = trainer.fit(X, y, epochs=5, batch_size=20)
        >>> smaller = prune_units(trainer, 0.5)
        >>> [tuple(a.shape) for name, a in smaller.variables.params.items() if name.endswith("weight")]
        [(2, 4), (4, 4), (4, 2)]
    """
    smaller = trainer.copy()
    remove_units(smaller, remove, criterion)
    return smaller


def remove_units(
    trainer: Trainer, remove: float | Sequence[int], criterion: str | Criterion = "norm"
) -> None:
    """Remove units from the trainer itself; see :func:`prune_units`."""
    if trainer.variables is None:
        raise ConfigError(
            "prune_units: expected a trainer that has been trained, found one without variables; call fit"
        )
    with trainer.backend.activate():
        _remove(trainer, remove, _criterion(criterion))


def _remove(trainer: Trainer, remove: float | Sequence[int], score: Criterion) -> None:
    layers = in_order(trainer.model)
    hidden = _hidden(trainer.model)
    params, state = trainer.variables
    widths = [layer.units for layer in hidden_layers(trainer.model)]
    counts = _counts(remove, widths)
    cuts: _Cuts = {}
    narrower: dict[tuple[str, ...], Layer] = {}
    for (first, last), count in zip(hidden, counts, strict=True):
        if count:
            scores = _scores(params, layers[first : last + 1], score)
            numbers = np.sort(np.argsort(trainer.backend.to_host(scores), kind="stable")[count:])
            kept = trainer.backend.asarray(numbers)
            _cut_out(layers[first : last + 1], kept, cuts)
            dense = layers[first]
            narrower[dense.path] = dataclasses.replace(dense.layer, units=kept.shape[0])  # type: ignore[call-arg]
    if not narrower:
        return
    mask, opt_state = trainer.mask, trainer.opt_state
    if mask is not None:
        mask = _cut_parameters(Parameters(mask, params.layout), cuts).flat
        trainer.set_mask(None)  # it is none of the smaller network's
    trainer.model = replaced(trainer.model, narrower)
    trainer.variables = Variables(_cut_parameters(params, cuts), _cut_state(state, cuts))
    trainer.opt_state = _cut_optimizer_state(opt_state, cuts)
    trainer.state.begin_patience_anew()
    if mask is not None:
        trainer.set_mask(mask)


def hidden_layers(model: Layer) -> list[Dense]:
    """Return the Dense layers whose units can be removed: all but the last one."""
    layers = in_order(model)
    return [layers[first].layer for first, _ in _hidden(model)]  # type: ignore[misc]


def hidden_widths(model: Layer) -> tuple[int, ...]:
    """Return the widths of the hidden Dense layers.

    Raises:
        ConfigError: the model has none, or units that cannot be removed.

    >>> from xpnet import nn
    >>> hidden_widths(nn.MLP([8, 4], 2))
    (8, 4)
    """
    return tuple(layer.units for layer in hidden_layers(model))


def _hidden(model: Layer) -> list[tuple[int, int]]:
    """Return the numbers of each hidden Dense layer and of the next Dense layer behind it."""
    layers = in_order(model)
    dense = [i for i, placed in enumerate(layers) if isinstance(placed.layer, Dense)]
    if len(dense) < 2:
        raise ConfigError(
            f"pruning of units: expected a model with a hidden Dense layer, found "
            f"{checks.short_repr(model)}; prune weights"
        )
    for placed in layers[dense[0] : dense[-1]]:
        if not isinstance(placed.layer, Dense) and not keeps_units(placed.layer):
            raise ConfigError(
                "pruning of units: expected only activations, Scale, Dropout, BatchNorm and LayerNorm "
                f"between Dense layers, found {placed.layer!r}; prune the weights of this model"
            )
    for i in dense[1:]:
        if layers[i].layer.gain(4) != 1:  # type: ignore[attr-defined]
            raise ConfigError(
                "pruning of units: expected Dense layers of the standard parametrization, found "
                f"{layers[i].layer!r}, whose factor depends on its inputs; prune the weights of this model"
            )
    return list(itertools.pairwise(dense))


def _counts(remove: Any, widths: Sequence[int]) -> list[int]:
    """Return how many units each hidden layer loses."""
    if hasattr(remove, "__len__") and not isinstance(remove, (str, Mapping)):
        counts = list(remove)
        if len(counts) != len(widths):
            raise ConfigError(
                f"remove: expected a number of units for each of {len(widths)} hidden layers, found "
                f"{len(counts)}; their widths are {list(widths)}"
            )
        for count, width in zip(counts, widths, strict=True):
            if isinstance(count, bool) or not hasattr(count, "__index__") or not 0 <= count < width:
                raise ConfigError(
                    f"remove: expected whole numbers from 0 to {width - 1} for a layer of {width} units, of "
                    f"which one stays, found {count!r}"
                )
        return [int(count) for count in counts]
    share = checks.fraction("remove", remove, "0.5 removes every second unit; or list one number a layer")
    return [min(round(share * width), width - 1) for width in widths]


def _criterion(criterion: Any) -> Criterion:
    if callable(criterion):
        return criterion
    if criterion not in CRITERIA:
        raise ConfigError(
            f"criterion: expected a known name or a function, found {criterion!r}"
            f"{suggest(criterion, CRITERIA)}"
        )
    return CRITERIA[criterion]


def _scores(params: Parameters, layers: Sequence[Placed], score: Criterion) -> Any:
    """Return how much each unit (units,) of a layer matters.

    Args:
        params: of the model.
        layers: a hidden Dense layer, what follows it, and the next Dense layer.
        score: a criterion.
    """
    incoming, outgoing = params[layers[0].name("weight")], params[layers[-1].name("weight")]
    xp = array_namespace(incoming)
    for placed in layers[1:-1]:
        if isinstance(placed.layer, Scale):
            incoming = incoming * params[placed.name("scale")]
        elif isinstance(placed.layer, (BatchNorm, LayerNorm)):
            norms = _norms(incoming, 0)
            sizes = xp.abs(params[placed.name("scale")]) / xp.where(norms > 0, norms, xp.ones_like(norms))
            incoming = incoming * sizes
    scores = score(incoming, outgoing)
    if tuple(getattr(scores, "shape", ())) != (incoming.shape[1],):
        raise ConfigError(
            f"criterion: expected scores of shape ({incoming.shape[1]},), one for each unit, found shape "
            f"{getattr(scores, 'shape', None)}; correct the function"
        )
    return scores


def _cut_out(layers: Sequence[Placed], kept: Any, cuts: _Cuts) -> None:
    """Note which entries stay of the arrays of a hidden Dense layer, of what follows, and of the next one."""
    dense, *between, following = layers
    cuts.setdefault(dense.name("weight"), []).append((1, kept))
    cuts[dense.name("bias")] = [(0, kept)]
    for placed in between:
        cuts.update({placed.name(array): [(0, kept)] for array in _OF_UNITS})
    cuts[following.name("weight")] = [(0, kept)]


_OF_UNITS = ("scale", "shift", "mean", "variance", "activation")
"""Arrays of the layers between, by name, with an entry for each unit."""


def _cut(name: str, array: Any, cuts: _Cuts) -> Any:
    for axis, kept in cuts.get(name, ()):
        array = array_namespace(array).take(array, kept, axis=axis)
    return array


def _cut_parameters(params: Parameters, cuts: _Cuts) -> Parameters:
    named = {name: _cut(name, array, cuts) for name, array in params.items()}
    layout = Layout(tuple((name, tuple(array.shape)) for name, array in named.items()))
    xp = array_namespace(params.flat)
    return Parameters(xp.concat([xp.reshape(array, (-1,)) for array in named.values()]), layout)


def _cut_state(state: dict[str, Any], cuts: _Cuts) -> dict[str, Any]:
    """Return the statistics of the units that stay."""
    if not state:
        return state
    named = {f"state.{name}": _cut(name, array, cuts) for name, array in flatten(state).items()}
    return unflatten(named, "state")


def _cut_optimizer_state(state: dict[str, Any] | None, cuts: _Cuts) -> dict[str, Any] | None:
    """Return the state for the parameters that stay; None, for a fresh one, if it is of another form."""
    if state is None or not all(isinstance(v, (Parameters, Real)) for v in state.values()):
        return None
    return {n: _cut_parameters(v, cuts) if isinstance(v, Parameters) else v for n, v in state.items()}
