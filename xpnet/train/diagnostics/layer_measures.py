"""Measures of each layer on a sample of rows: activations, gradients, updates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from xpnet import nn
from xpnet.autodiff import value_and_grad, vjp
from xpnet.backends import array_namespace
from xpnet.containers import leaves
from xpnet.nn import Layer, Sequential
from xpnet.optim import Optimizer
from xpnet.train.divergence import label
from xpnet.train.members import as_rows, of_rows
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.step import Step, step_once
from xpnet.train.targets import mean_loss

__all__ = ["SATURATED", "LayerMeasures", "Measures", "losses_of", "measure"]

SATURATED = 0.99
"""How far out on its way from the middle to an end a sigmoid's or tanh's value counts as saturated."""

_NOWHERE = slice(0, 0)

# Where their value is 0 their slope is 0 too.
_RECTIFIERS = (nn.ReLU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus)


@dataclasses.dataclass(frozen=True)
class LayerMeasures:
    """Measures of one layer, on the sample of rows.

    Attributes:
        layer: its place and class, such as ``"2 (Dense)"``.
        parameters: number of its parameters.
        weight_norm: ‖θ‖₂ of them; 0 without any.
        gradient_norm: ‖∂L/∂θ‖₂, L the mean loss without penalties; 0 without parameters.
        activation_rms: root of the mean square of its output h.
        signal: ‖∂L/∂h‖₂ over all rows and units: what back propagation brings to the layer.
        dead: share of units that are 0 on every row; None unless it is ReLU, GELU, SiLU, Mish or Softplus.
        saturated: share of entries of h beyond 99 % of the way to an end, where the slope is below a fiftieth
            of its largest value; None unless it is Sigmoid or Tanh.
        alike: how far units differ from the first one, in h or in ∂L/∂h, whichever is more, relative to the
            norm of that: 0 if all units do the same and are told the same. None for a single unit, and
            without parameters.
        update_ratio: ‖Δθ‖₂ / ‖θ‖₂ of the step that the trainer would take now; None without
            parameters, where they are all 0, and for optimizers that take no such steps.
    """

    layer: str
    parameters: int
    weight_norm: float
    gradient_norm: float
    activation_rms: float
    signal: float
    dead: float | None
    saturated: float | None
    alike: float | None
    update_ratio: float | None


@dataclasses.dataclass(frozen=True)
class Measures:
    """Measures of all layers at one time.

    Attributes:
        epoch, step: epochs and steps done.
        loss: mean loss of the sample, without penalties.
        constant_loss: the loss if every row had the mean of the outputs: of a model that knows no inputs.
        input_signal: ‖∂L/∂X‖₂ over all rows and features.
        layers: from the inputs to the outputs.
    """

    epoch: int
    step: int
    loss: float
    constant_loss: float
    input_signal: float
    layers: tuple[LayerMeasures, ...]


def measure(setup: Setup, state: TrainState, rows: Rows, batch: Rows) -> Measures:
    """Measure all layers of a model in training; one transfer from the device, and nothing is changed.

    Batch statistics are those of the rows, as in training; Dropout lets everything pass, so that a unit is
    not called dead for being dropped.

    Args:
        setup: of the training.
        state: with variables and the optimizer's state.
        rows: the sample, on the device.
        batch: rows for the step of which ``update_ratio`` tells. It is that of the training, with all that
            belongs to it: penalties, clipping, the optimizer's state, the learning rate of the next step.
    """
    found = _Numbers(setup.backend.xp)
    assert state.variables is not None
    params, model_state = state.variables
    parts = list(_parts(setup.model, ()))
    spans = [_span(params.layout, path) for path, _ in parts]
    tree = params.layout.tree(params.layout.views(params.flat))
    key = setup.key.fold("diagnostics").at_step(state.step + 1)
    inputs, pullbacks, outputs = rows.X, [], []
    for number, (path, layer) in enumerate(parts):
        forward = _forward(layer, key.fold(number))
        inputs, pullback = vjp(forward, _inside(tree, path), inputs, _inside(model_state, path))
        pullbacks.append(pullback)
        outputs.append(inputs)

    def loss_of(outputs: Any, y: Any, weight: Any) -> Any:
        outputs, y, weight = as_rows(setup.model, outputs, y, weight)
        return mean_loss(setup.loss, outputs, y, sample_weight=weight)

    loss, cotangent = value_and_grad(loss_of)(inputs, rows.y, rows.weight)
    found.add("loss", loss)
    found.add("constant", loss_of(_mean_of_rows(inputs), rows.y, rows.weight))
    for number in reversed(range(len(parts))):
        layer, y = parts[number][1], outputs[number]
        _measure_output(found, number, layer, y, cotangent)
        if spans[number] != _NOWHERE and len(y.shape) == 2 and y.shape[1] > 1:
            found.add_squares((number, "outputs apart"), [y - y[:, :1]])
            found.add_squares((number, "signals apart"), [cotangent - cotangent[:, :1]])
        gradient, cotangent, _ = pullbacks[number](cotangent)
        found.add_squares((number, "gradient"), leaves(gradient))
        found.add_squares((number, "weight"), [params.flat[spans[number]]])
    found.add_squares("inputs", [cotangent])
    after = _next_parameters(setup, state, batch)
    if after is not None:
        change = after - params.flat
        for number, span in enumerate(spans):
            found.add_squares((number, "update"), [change[span]])
    values = found.fetch(setup.backend)
    layers = tuple(
        _layer_measures(number, label(layer, path), spans[number], math.prod(outputs[number].shape), values)
        for number, (path, layer) in enumerate(parts)
    )
    return Measures(
        state.epoch,
        state.step,
        values["loss"],
        values["constant"],
        math.sqrt(values["inputs"]),
        layers,
    )


def losses_of(setup: Setup, outputs: Any, rows: Rows) -> tuple[float, float]:
    """Return the mean loss of rows, and that of the mean of their outputs in place of each.

    Args:
        setup: of the training.
        outputs: of the model for the rows.
        rows: on the device.
    """
    xp = setup.backend.xp
    found = [
        mean_loss(setup.loss, predicted, rows.y, sample_weight=of_rows(rows.weight))
        for predicted in (outputs, _mean_of_rows(outputs))
    ]
    loss, constant = setup.backend.to_host(xp.stack(found)).tolist()
    return loss, constant


class _Numbers:
    """Named 0-d arrays on the device, copied to the host in one transfer."""

    def __init__(self, xp: Any):
        self.xp = xp
        self._named: dict[Any, Any] = {}

    def add(self, name: Any, value: Any) -> None:
        self._named[name] = value

    def add_squares(self, name: Any, arrays: list[Any]) -> None:
        """Add the sum of the squares of all entries; nothing for no arrays."""
        squares = [self.xp.vecdot(x, x) for x in (self.xp.reshape(x, (-1,)) for x in arrays) if x.shape[0]]
        if squares:
            self.add(name, sum(squares[1:], squares[0]))

    def fetch(self, backend: Any) -> dict[Any, float]:
        values = backend.to_host(self.xp.stack(list(self._named.values())))
        return dict(zip(self._named, values.tolist(), strict=True))


def _parts(layer: Layer, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Layer]]:
    """Yield the layers inside ``layer`` from the inputs to the outputs, with their places."""
    if not isinstance(layer, Sequential):
        yield path, layer
        return
    for number, inner in enumerate(layer.layers):
        yield from _parts(inner, (*path, str(number)))


def _span(layout: Any, path: tuple[str, ...]) -> slice:
    """Return where in the flat vector the parameters of the layer at ``path`` are."""
    prefix = "".join(f"{name}." for name in path)
    own = [
        part for name, (part, _) in zip(layout.names, layout.slices, strict=True) if name.startswith(prefix)
    ]
    return slice(own[0].start, own[-1].stop) if own else _NOWHERE


def _inside(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        tree = tree.get(name, {})
    return tree


def _forward(layer: Layer, key: Any) -> Any:
    training = not isinstance(layer, nn.Dropout)

    def forward(params: Any, x: Any, state: Any) -> Any:
        return layer.forward(params, state, x, training=training, key=key)[0]

    return forward


def _mean_of_rows(outputs: Any) -> Any:
    xp = array_namespace(outputs)
    return xp.broadcast_to(xp.mean(outputs, axis=0, keepdims=True), outputs.shape)


def _measure_output(found: _Numbers, number: int, layer: Layer, y: Any, cotangent: Any) -> None:
    xp = array_namespace(y)
    found.add_squares((number, "outputs"), [y])
    found.add_squares((number, "signal"), [cotangent])
    if isinstance(layer, _RECTIFIERS):
        found.add((number, "dead"), _share(~xp.any(y != 0, axis=0), y.dtype))
    elif isinstance(layer, (nn.Sigmoid, nn.Tanh)):
        middle, half = (0.5, 0.5) if isinstance(layer, nn.Sigmoid) else (0.0, 1.0)
        found.add((number, "saturated"), _share(xp.abs(y - middle) > SATURATED * half, y.dtype))


def _share(truths: Any, dtype: Any) -> Any:
    xp = array_namespace(truths)
    return xp.mean(xp.astype(truths, dtype))


def _next_parameters(setup: Setup, state: TrainState, batch: Rows) -> Any:
    """Return the flat parameters after a step that would be taken now; none is taken."""
    if not isinstance(setup.optimizer, Optimizer):
        return None
    after = state.copy()
    assert after.variables is not None
    step = Step(setup, after.variables.params.layout)
    step_once(step, after, batch, setup.step_key(state.step + 1))
    return after.variables.params.flat


def _layer_measures(
    number: int, name: str, span: slice, entries: int, values: dict[Any, float]
) -> LayerMeasures:
    def norm(what: str) -> float:
        return math.sqrt(values.get((number, what), 0.0))

    outputs, signal, weight = norm("outputs"), norm("signal"), norm("weight")
    apart = [
        norm(f"{what} apart") / (size or 1.0)
        for what, size in (("outputs", outputs), ("signals", signal))
        if (number, f"{what} apart") in values
    ]
    return LayerMeasures(
        layer=name,
        parameters=span.stop - span.start,
        weight_norm=weight,
        gradient_norm=norm("gradient"),
        activation_rms=outputs / math.sqrt(entries),
        signal=signal,
        dead=values.get((number, "dead")),
        saturated=values.get((number, "saturated")),
        alike=max(apart, default=None),
        update_ratio=norm("update") / weight if (number, "update") in values and weight > 0 else None,
    )
