"""Predictions with sparse matrices, which store and multiply only the weights that are not 0."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from xpnet import backends
from xpnet.backends import Backend
from xpnet.errors import ConfigError
from xpnet.nn import Dense
from xpnet.prune.layers import Placed, in_order
from xpnet.train import Trainer
from xpnet.train.members import combined
from xpnet.train.predictor import in_kind, predictions
from xpnet.train.rows import check_inputs

__all__ = ["SparsePredictor", "sparse_predictor"]

_ROWS = 4096  # computed at a time


class SparsePredictor:
    """The model of a trainer with its pruned matrices in CSR format, for prediction.

    Matrices are compressed row by row (CSR) where that takes less memory than all entries; the others,
    biases and everything else stay as they are. The weights are those of the moment in which it was made.

    Attributes:
        nbytes: memory of all parameters and statistics in this form, in bytes.
        sparse: how many matrices are compressed.
    """

    def __init__(self, trainer: Trainer):
        if trainer.variables is None:
            raise ConfigError(
                "sparse_predictor: expected a trainer that has been trained, found one without variables; "
                "call fit first"
            )
        self._trainer = trainer
        self._home, csr = _library(trainer.backend)
        self.nbytes = self.sparse = 0
        params, state = trainer.variables
        with trainer.backend.activate(), self._home.activate():
            named = params.layout.tree(tuple(map(self._array, params.layout.views(params.flat))))
            self._layers = [
                self._function(placed, _inside(named, placed), self._state(_inside(state, placed)), csr)
                for placed in in_order(trainer.model)
            ]

    def _array(self, x: Any) -> Any:
        return self._home.xp.asarray(self._home.asarray(x), copy=True)  # training may write over it

    def _state(self, state: Any) -> Any:
        return {k: self._state(v) if isinstance(v, dict) else self._array(v) for k, v in state.items()}

    def _function(self, placed: Placed, params: Any, state: Any, csr: Any) -> Callable[[Any], Any]:
        """Return the function of one layer, and count the memory that it needs."""
        layer = placed.layer
        if isinstance(layer, Dense):
            weight = params["weight"] * layer.gain(params["weight"].shape[0])
            transposed = csr(weight.T)
            size = transposed.data.nbytes + transposed.indices.nbytes + transposed.indptr.nbytes
            if size < weight.nbytes:
                bias = params.get("bias", 0.0)
                self.nbytes += size + getattr(bias, "nbytes", 0)
                self.sparse += 1
                return lambda x: (transposed @ x.T).T + bias
        self.nbytes += _size(params) + _size(state)
        return lambda x: layer.forward(params, state, x, training=False, key=None)[0]

    def outputs(self, X: Any) -> Any:
        """Return the raw outputs for ``X``: an array of CuPy on a CUDA device, elsewhere of NumPy."""
        X = self._home.asarray(self._checked(X), dtype=self._trainer.setup.dtype)
        with self._home.activate():
            parts = [self._apply(X[start : start + _ROWS, ...]) for start in range(0, X.shape[0], _ROWS)]
            return parts[0] if len(parts) == 1 else self._home.xp.concat(parts)

    def _checked(self, X: Any) -> Any:
        return check_inputs(self._trainer.setup, X, self._trainer.state.input_shape)

    def _apply(self, x: Any) -> Any:
        for layer in self._layers:
            x = layer(x)
        return combined(self._trainer.model, self._trainer.loss, x)

    def predict(self, X: Any) -> Any:
        """Return predictions as :meth:`Trainer.predict` does."""
        return in_kind(X, predictions(self._home, self._trainer.loss, self.outputs(X)))


def sparse_predictor(trainer: Trainer) -> SparsePredictor:
    """Return a predictor that multiplies with the weights only that are not 0.

    With CuPy by ``cupyx.scipy.sparse`` on the device, with everything else by ``scipy.sparse`` on the host.
    Outputs equal those of the trainer up to rounding, as sums run in another order.

    Args:
        trainer: one that has been trained, and pruned, or this gains nothing.

    Raises:
        ConfigError: not trained, or SciPy is not installed.

    Example:
        >>> import numpy as np
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import two_gaussians_arrays
        >>> from xpnet.prune import magnitude_mask
        >>> X, y = two_gaussians_arrays(n=100, seed=0)
        >>> trainer = Trainer(nn.MLP([32, 32], 2), "softmax_cross_entropy", backend="numpy")
        >>> history = trainer.fit(X, y, epochs=5, batch_size=20)
        >>> trainer.set_mask(magnitude_mask(trainer.variables, 0.9))
        >>> predictor = sparse_predictor(trainer)
        >>> bool(np.all(predictor.predict(X) == trainer.predict(X)))
        True

    Source: lecture note 004, "Regularization": zeros in a matrix save nothing without such a format.
    """
    return SparsePredictor(trainer)


def _library(home: Backend) -> tuple[Backend, Any]:
    """Return where sparse products are computed, and the class of matrices there."""
    name = "cupyx.scipy.sparse" if home.name == "cupy" else "scipy.sparse"
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"sparse_predictor: expected SciPy, found none ({error}); pip install scipy"
        ) from error
    if home.name == "cupy":
        return home, module.csr_matrix
    return backends.backend("numpy"), module.csr_array


def _inside(tree: Any, placed: Placed) -> Any:
    for name in placed.path:
        tree = tree.get(name, {})
    return tree


def _size(tree: Any) -> int:
    if isinstance(tree, dict):
        return sum(_size(value) for value in tree.values())
    return tree.nbytes
