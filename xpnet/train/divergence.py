"""Divergence: the step and layer at fault, found afterwards, so that training need not check each step."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from xpnet import rng
from xpnet.autodiff.functions import unpack
from xpnet.backends import array_namespace
from xpnet.containers import leaves
from xpnet.errors import DivergedError
from xpnet.nn import Layer, Sequential, Variables
from xpnet.parameters import Parameters
from xpnet.train.batches import Batches
from xpnet.train.checkpoint_file import flatten
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.step import Step, step_once

__all__ = ["checked_losses", "finite_losses", "first_nonfinite_layer", "label", "nonfinite_variable"]

_LONG = 2**20


def finite_losses(setup: Setup, state: TrainState, pending: list[Any]) -> list[float] | None:
    """Return losses as numbers (one transfer); None if they, or the state after their steps, are not finite.

    Args:
        setup: of the training.
        state: after the steps of these losses.
        pending: arrays of losses on the device.
    """
    values = _on_host(setup, pending)
    assert state.variables is not None
    assert state.opt_state is not None
    finite = np.isfinite(values).all() and _are_finite(state.variables, state.opt_state)
    return values.tolist() if finite else None


def _on_host(setup: Setup, pending: list[Any]) -> np.ndarray:
    losses = pending[0] if len(pending) == 1 else setup.backend.xp.concat(pending)
    values: np.ndarray = setup.backend.to_host(losses).astype(np.float64)
    return values


def checked_losses(
    setup: Setup, state: TrainState, pending: list[Any], done: int, before: Any, train: Rows, plan: Batches
) -> list[float]:
    """Return losses as numbers (one transfer), or raise the error that says where one is not finite.

    Args:
        setup: of the training.
        state: after the steps of these losses.
        pending: arrays of losses on the device.
        done: how many losses of the epoch came before these.
        before: snapshot of the state before the epoch.
        train: training rows.
        plan: their batches.

    Raises:
        DivergedError: a loss, a parameter, a statistic or the optimizer's state is not finite.
    """
    values = _on_host(setup, pending)
    epoch = state.epoch + 1
    finite = np.isfinite(values)
    if not finite.all():
        number = int(np.argmin(finite))
        step = state.step - len(values) + number + 1
        layer = _first_layer(setup, state, done + number + 1, before, train, plan)
        what = f"the loss is {values[number]}"
    else:
        assert state.variables is not None
        assert state.opt_state is not None
        found = nonfinite_variable(setup.model, state.variables, state.opt_state)
        if found is None:
            return values.tolist()
        step, (layer, name) = state.step, found
        what = f"{name} is not finite"
    kept = f"after epoch {state.epoch}" if state.epoch else "before the first epoch"
    rolled = f"The state {kept} is kept"
    kept = rolled if setup.settings.rollback else "No earlier state was kept (rollback=False)"
    raise DivergedError(
        f"diverged in epoch {epoch}, step {step}: {what}, first not finite in {layer}. {kept}; "
        "lower the learning rate, set clip_norm, or check the data's scale",
        epoch=epoch,
        step=step,
        layer=layer,
    )


def _first_layer(
    setup: Setup, state: TrainState, number: int, before: Any, train: Rows, plan: Batches
) -> str:
    """Return the layer at fault in step ``number`` of the epoch.

    The epoch is repeated up to that step, as draws repeat exactly; or if the state before it was not kept,
    the layers are looked at as they are now.
    """
    again = state.copy()
    repeated = setup.settings.rollback
    if repeated:
        again.restore(before)
        again.go_on()
    assert again.variables is not None
    layout = again.variables.params.layout
    for order, _ in plan.epoch(again.epoch + 1):
        number -= 1
        batch, key = train.take(order), setup.step_key(again.step + 1)
        if number == 0:
            return first_nonfinite_layer(setup.model, again.variables, batch.X, key)
        if repeated:
            step_once(Step(setup, layout), again, batch, key)
    raise AssertionError("the bad step lies within the epoch")


def first_nonfinite_layer(model: Layer, variables: Variables, x: Any, key: rng.Key) -> str:
    """Return the number and class of the first layer whose output for ``x`` is not finite, or ``"loss"``."""
    params, state = variables
    tree = params.layout.tree(unpack(params.flat, params.layout))
    return _search(model, tree, state, x, key, ())[0] or "loss"


def _search(
    layer: Layer, params: Any, state: Any, x: Any, key: rng.Key, path: tuple[str, ...]
) -> tuple[str, Any]:
    """Return the first layer found inside ``layer`` ("" if none) and the output."""
    if not isinstance(layer, Sequential):
        x, _ = layer.forward(params, state, x, training=True, key=key)
        return ("" if _all_finite(x) else label(layer, path)), x
    for number, inner in enumerate(layer.layers):
        name = str(number)
        found, x = _search(
            inner, params.get(name, {}), state.get(name, {}), x, key.fold(number), (*path, name)
        )
        if found:
            return found, x
    return "", x


def nonfinite_variable(
    model: Layer, variables: Variables, opt_state: dict[str, Any]
) -> tuple[str, str] | None:
    """Return the layer and the name of a parameter, statistic or slot that is not finite; None if all are."""
    if _are_finite(variables, opt_state):
        return None
    params, state = variables
    slots = {name: value for name, value in opt_state.items() if isinstance(value, Parameters)}
    found = [(path, f"parameter {path}") for path, value in params.items() if not _all_finite(value)]
    found += [(path, f"state {path}") for path, value in flatten(state).items() if not _all_finite(value)]
    found += [
        (path, f"the optimizer's {slot} of {path}")
        for slot, values in slots.items()
        for path, value in values.items()
        if not _all_finite(value)
    ]
    path, what = found[0]
    return _owner(model, path), what


def _are_finite(variables: Variables, opt_state: dict[str, Any]) -> bool:
    """Return True if all parameters, statistics and slots are finite: after one transfer of one number."""
    slots = [value.flat for value in opt_state.values() if isinstance(value, Parameters)]
    return _all_finite(variables.params.flat, *leaves(variables.state), *slots)


def _owner(model: Layer, path: str) -> str:
    """Return the label of the layer to which the parameter or state called ``path`` belongs."""
    layer, above, rest = model, [], path.split(".")
    while isinstance(layer, Sequential):
        name = rest.pop(0)
        above.append(name)
        layer = layer.layers[int(name)]
    return label(layer, tuple(above))


def label(layer: Layer, path: tuple[str, ...]) -> str:
    """Return the place and the class of a layer, such as ``"2 (Dense)"``."""
    return f"{'.'.join(path) or '0'} ({type(layer).__name__})"


def _all_finite(*arrays: Any) -> bool:
    """True if every entry of the arrays is finite (waits for the device).

    A sum that is finite has no term that is not, and sums take one pass over the memory.
    """
    xp = array_namespace(*arrays)
    if math.isfinite(float(sum(xp.sum(x) for x in arrays if xp.isdtype(x.dtype, "real floating")))):
        return True
    return bool(
        functools.reduce(operator.and_, (xp.all(xp.isfinite(part)) for x in arrays for part in _parts(x)))
    )


def _parts(x: Any) -> Iterator[Any]:
    """Yield a long vector in parts, for each of which memory is needed; other arrays as they are."""
    if len(x.shape) != 1 or x.shape[0] <= _LONG:
        yield x
        return
    for start in range(0, x.shape[0], _LONG):
        yield x[start : min(start + _LONG, x.shape[0])]
