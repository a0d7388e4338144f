"""Weights as state dicts of PyTorch's ``nn.Sequential`` of the same shape, written and read without PyTorch.

A layer is a row of `MODULES`: the module that it is in PyTorch, and what its arrays are called there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import nn
from xpnet.backends import backend_of
from xpnet.errors import ConfigError, because, suggest
from xpnet.export.models import exported
from xpnet.export.places import write_file
from xpnet.files import open_regular
from xpnet.nn import Variables
from xpnet.nn.layer import Layer, Shape
from xpnet.parameters import Parameters
from xpnet.schedules import value_at
from xpnet.train import Trainer

__all__ = ["MODULES", "Row", "from_torch", "torch"]


@dataclass(frozen=True)
class Row:
    """A kind of layer in PyTorch.

    Attributes:
        module: the module as Python, of the layer and the shape of its input rows.
        params: names of parameters here and there; ``weight`` of Dense is transposed, times its gain.
        state: names of arrays of the state.
        counted: whether there is a number of batches as well.
    """

    module: Callable[[Any, Shape], str]
    params: Mapping[str, str] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    counted: bool = False


_SCALED = {"scale": "weight", "shift": "bias"}

MODULES: dict[type[Layer], Row] = {
    nn.Dense: Row(
        lambda x, shape: f"Linear({shape[0]}, {x.units}{'' if x.bias else ', bias=False'})",
        {"weight": "weight", "bias": "bias"},
    ),
    nn.BatchNorm: Row(
        lambda x, shape: f"BatchNorm1d({shape[0]}, eps={x.epsilon!r}, momentum={x.momentum!r})",
        _SCALED,
        {"mean": "running_mean", "variance": "running_var"},
        counted=True,
    ),
    nn.LayerNorm: Row(lambda x, shape: f"LayerNorm({shape[0]}, eps={x.epsilon!r})", _SCALED),
    nn.Dropout: Row(lambda x, shape: f"Dropout({value_at('Dropout', x.rate, 1)!r})"),
    nn.ReLU: Row(lambda x, shape: "ReLU()"),
    nn.LeakyReLU: Row(lambda x, shape: f"LeakyReLU({x.negative_slope!r})"),
    nn.ELU: Row(lambda x, shape: f"ELU({x.alpha!r})"),
    nn.GELU: Row(lambda x, shape: "GELU()"),
    nn.SELU: Row(lambda x, shape: "SELU()"),
    nn.Mish: Row(lambda x, shape: "Mish()"),
    nn.SiLU: Row(lambda x, shape: "SiLU()"),
    nn.Softplus: Row(lambda x, shape: "Softplus()"),
    nn.Sigmoid: Row(lambda x, shape: "Sigmoid()"),
    nn.Tanh: Row(lambda x, shape: "Tanh()"),
    nn.Identity: Row(lambda x, shape: "Identity()"),
}
"""The layers that PyTorch has."""


@dataclass(frozen=True)
class _Array:
    """An array of a model, by its names."""

    name: str  # in PyTorch
    path: tuple[str, ...]  # here
    dense: nn.Dense | None  # whose weight it is: transposed there, and times its gain
    learned: bool

    def there(self, array: np.ndarray) -> np.ndarray:
        """Return the array as PyTorch has it."""
        return array if self.dense is None else array.T * array.dtype.type(self.dense.gain(array.shape[0]))

    def here(self, array: np.ndarray) -> np.ndarray:
        """Return PyTorch's array as it is here."""
        return array if self.dense is None else array.T / self.dense.gain(array.shape[-1])


def torch(model: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a network's weights as a state dict of PyTorch, in a file of safetensors.

    Its keys are those of an ``nn.Sequential`` of the same layers: ``0.weight`` of shape (out, in),
    ``0.bias``, ``1.running_mean``, ...; ``num_batches_tracked`` is the number of steps. The metadata of the
    file say under "sequential" how that module is made. The outputs are raw: logits, where the loss is one
    for classes. Of a table only the network is written; its features are those of the encoder. Of a schedule
    of dropout the rate of the first step is written.

    Args:
        model: an `xpnet.Trainer`, an `xpnet.tabular.TableModel`, an `xpnet.runs.Run` or a fitted estimator of
            `xpnet.estimators`.
        path: the file to make.
        overwrite: whether a file that is there already is replaced.

    Returns:
        The path.

    Raises:
        ConfigError: PyTorch has no such layer (the message names it), the file exists already, or cannot be
            written.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from xpnet import Trainer, nn
        >>> trainer = Trainer(nn.MLP([3], 1), "squared_error", backend="numpy")
        >>> _ = trainer.fit(np.eye(2), np.ones(2), epochs=1)
        >>> from safetensors.numpy import load_file
        >>> sorted(load_file(torch(trainer, tempfile.mkdtemp() + "/model.safetensors")))
        ['0.bias', '0.weight', '2.bias', '2.weight']
    """
    from safetensors.numpy import save

    found = exported(model)
    tree = {True: _nested(found.variables.params), False: found.variables.state}
    arrays: dict[str, np.ndarray] = {}
    for item in _arrays(found.trainer.model):
        array = _at(tree[item.learned], item.path) if item.path else np.asarray(found.trainer.step)
        arrays[item.name] = np.ascontiguousarray(item.there(array))
    made = _module(found.trainer.model, (found.width,))
    content = save(arrays, metadata={"format": "pt", "sequential": made})
    return write_file(path, content, overwrite=overwrite)


def from_torch(source: Any, trainer: Trainer) -> Trainer:
    """Return a trainer like another one, with the weights of a state dict of PyTorch.

    Args:
        source: a file of safetensors, or a mapping from names to arrays of any library, such as what
            ``module.state_dict()`` returns.
        trainer: its model is an `xpnet.nn.Sequential` of the same layers; it need not be trained, and is not
            changed.

    Returns:
        A trainer on the same backend that predicts with these weights; `fit` trains them further.

    Raises:
        ConfigError: names or shapes do not fit the model, or the file cannot be read.

    Example:
        >>> import numpy as np
        >>> from xpnet import Trainer, nn
        >>> made = Trainer(nn.Sequential(nn.Dense(1)), "squared_error", backend="numpy")
        >>> weights = {"0.weight": np.asarray([[2.0, 3.0]]), "0.bias": np.asarray([1.0])}
        >>> from_torch(weights, made).predict([[1.0, 1.0]])
        array([6.], dtype=float32)
    """
    given = _read(source)
    items = list(_arrays(trainer.model))
    known = {item.name: item for item in items}
    if (unknown := sorted(given.keys() - known.keys())) or known.keys() - given.keys():
        lacking = sorted(known.keys() - given.keys())
        found = f"no '{lacking[0]}'" if lacking else f"'{unknown[0]}'{suggest(unknown[0], known)}"
        raise ConfigError(
            f"from_torch: expected the {len(known)} arrays of the model's layers, found {found}; give the "
            f"trainer a model of the same layers: {', '.join(type(x).__name__ for x in _flat(trainer.model))}"
        )
    here = {(item.learned, *item.path): item.here(given[item.name]) for item in items if item.path}
    made = trainer.clone()
    home = made.backend
    with home.activate():
        made.begin((_width(trainer.model, here),))
        assert made.variables is not None
        params, state = made.variables
        flat = np.empty(params.layout.size)
        for name, (part, shape) in zip(params.layout.names, params.layout.slices, strict=True):
            flat[part] = _fitting(name, here[(True, *name.split("."))], shape).reshape(-1)
        learned = Parameters(home.asarray(flat, dtype=made.setup.dtype), params.layout)
        made.variables = Variables(learned, _loaded(made, state, here, ()))
    return made


def _fitting(name: str, array: np.ndarray, shape: Shape) -> np.ndarray:
    if array.shape != shape or not np.isfinite(array).all():
        what = f"shape {array.shape}" if array.shape != shape else "entries that are not finite"
        raise ConfigError(f"from_torch: expected for '{name}' numbers of shape {shape}, found {what}")
    return array


def _loaded(made: Trainer, state: Any, here: Mapping[Any, np.ndarray], path: tuple[str, ...]) -> Any:
    if isinstance(state, dict):
        return {name: _loaded(made, own, here, (*path, name)) for name, own in state.items()}
    array = _fitting(".".join(path), here[(False, *path)], tuple(state.shape))
    return made.backend.asarray(array, dtype=made.setup.dtype)


def _read(source: Any) -> dict[str, np.ndarray]:
    if not isinstance(source, Mapping):
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            with open_regular(source, follow=True) as file:
                source = load(file.read())
        except OSError as error:
            raise ConfigError(f"from_torch: '{source}' cannot be read: {because(error)}") from error
        except SafetensorError as error:
            raise ConfigError(
                f"from_torch: '{source}' is no file of safetensors ({error}); write one with "
                "safetensors.torch.save_file(module.state_dict(), path)"
            ) from error
    return {name: _on_host(x) for name, x in source.items()}


def _on_host(x: Any) -> np.ndarray:
    if hasattr(x, "detach"):  # a parameter of PyTorch
        x = x.detach()
    return np.asarray(x if isinstance(x, (np.ndarray, list, float, int)) else backend_of(x).to_host(x))


def _width(model: Layer, here: Mapping[Any, np.ndarray]) -> int:
    """Return the features of a row, by the first layer that has arrays."""
    for item in _arrays(model):
        if item.path and item.learned:
            return int(here[(True, *item.path)].shape[0])
    raise ConfigError("from_torch: expected a model with weights, found none in its layers")


# --- layers -------------------------------------------------------------------------------------------


def _row(layer: Layer) -> Row:
    row = MODULES.get(type(layer))
    if row is None:
        raise ConfigError(
            f"torch: expected layers that PyTorch has, found {type(layer).__name__}; replace it, or export "
            "the model as ONNX"
        )
    return row


def _flat(model: Layer) -> Iterator[Layer]:
    for layer in model.layers if isinstance(model, nn.Sequential) else (model,):
        yield from _flat(layer) if isinstance(layer, nn.Sequential) else (layer,)


def _arrays(layer: Layer, path: tuple[str, ...] = ()) -> Iterator[_Array]:
    """Yield the arrays of a model, in PyTorch's order."""
    if isinstance(layer, nn.Sequential):
        for number, inside in enumerate(layer.layers):
            yield from _arrays(inside, (*path, str(number)))
        return
    row = _row(layer)
    prefix = "".join(f"{part}." for part in path)
    for own, name in row.params.items():
        if own != "bias" or not isinstance(layer, nn.Dense) or layer.bias:
            weight = layer if own == "weight" and isinstance(layer, nn.Dense) else None
            yield _Array(prefix + name, (*path, own), weight, True)
    for own, name in row.state.items():
        yield _Array(prefix + name, (*path, own), None, False)
    if row.counted:
        yield _Array(f"{prefix}num_batches_tracked", (), None, False)


def _module(layer: Layer, shape: Shape) -> str:
    """Return a model as Python, in the names of torch.nn."""
    if not isinstance(layer, nn.Sequential):
        return _row(layer).module(layer, shape)
    inside = []
    for own in layer.layers:
        inside.append(_module(own, shape))
        shape = own.output_shape(shape)
    return f"Sequential({', '.join(inside)})"


def _nested(params: Parameters) -> dict[str, Any]:
    return params.layout.tree(params.layout.views(params.flat))


def _at(tree: Any, path: tuple[str, ...]) -> np.ndarray:
    for part in path:
        tree = tree[part]
    return np.asarray(tree)
