"""A trainer in one line: layers, parameters, device, epochs, losses."""

from __future__ import annotations

from xpnet.nn import Layer, Sequential
from xpnet.train import targets
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState

__all__ = ["summary"]


def summary(setup: Setup, state: TrainState) -> str:
    """Return the ``repr`` of a trainer: layers, parameters, device, epochs, losses."""
    loss, optimizer = targets.name_of(setup.loss), setup.optimizer_name
    made = f"{_layers(setup.model)}, {loss}, {optimizer}, {setup.backend.spec}, {setup.dtype}"
    if state.variables is None:
        return f"Trainer({made}; not trained)"
    done = [f"{state.variables.params.layout.size:,} parameters", _count(state.epoch, "epoch")]
    done += [_count(state.step, "step")]
    if len(state.history):
        done.append(f"loss {state.history.rows[-1]['loss']:.4g}")
    if state.best is not None:
        found = (state.history.row_of(state.best.epoch) or {}).get(setup.monitor.name, state.best.loss)
        done.append(f"{setup.monitor.best} {found:.4g} in epoch {state.best.epoch}")
    return f"Trainer({made}; {', '.join(done)})"


def _layers(model: Layer) -> str:
    """Return the layers in a short form.

    >>> from xpnet import nn
    >>> _layers(nn.MLP([32], 10, dropout=0.5))
    'Dense(32) ReLU Dropout(0.5) Dense(10)'
    """
    if isinstance(model, Sequential):
        return " ".join(map(_layers, model.layers))
    first = getattr(model, "units", getattr(model, "rate", None))
    return type(model).__name__ + ("" if first is None else f"({first})")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
