"""The model outside training: outputs, loss and metrics on rows, computed in parts."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Any

import numpy as np

from xpnet.backends.profiling import profiled
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.program import Compiled, compile
from xpnet.train import targets
from xpnet.train.blas_threads import blas_threads, is_large
from xpnet.train.members import of_members, of_rows, outputs_of
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup

__all__ = ["Evaluation"]

_ROWS = 4096  # computed at a time
_SEEN = 1000  # numbers of rows that are remembered


class Evaluation:
    """Computes outputs, loss and metrics of models, by compiled programs.

    Numbers of rows that are seen once, as when single requests are predicted, are not worth a program: one is
    made when a number comes again. Those of a run of training do, so they have one from the start; and a run
    that is resumed then has the same numbers.
    """

    def __init__(self) -> None:
        self._programs: dict[tuple[str, str], Compiled] = {}
        self._made_of: tuple[Any, ...] = ()
        self._seen: set[tuple[str, int]] = set()
        self._lock = threading.Lock()  # several threads may predict with one trainer

    def outputs(
        self,
        setup: Setup,
        variables: Variables,
        X: Any,
        weight: Any = None,
        *,
        again: bool = False,
        lower: str | None = None,
    ) -> Any:
        """Return the model's raw outputs for rows on the device.

        Args:
            setup: the model and how it is compiled.
            variables: of the model.
            X: rows.
            weight: of the rows; those of each member of an ensemble count in the mean of their predictions.
            again: whether so many rows will come again.
            lower: how the model is compiled, if not as the setup says.
        """
        n, weight = X.shape[0], of_members(weight)
        parts = []
        for start in range(0, n, _ROWS):
            part = slice(start, min(start + _ROWS, n))
            rows = [X[part, ...], *([] if weight is None else [weight[part, ...]])]
            size = rows[0].shape[0], variables.params.layout.size
            # Large products have other bits in the BLAS's threads than in those of compiled code.
            apply = self._function("outputs", setup, size[0], again or is_large(setup, *size), lower)
            compiled = isinstance(apply, Compiled) and not apply.reason
            as_written = not compiled or setup.settings.compile == "generic"
            blas = blas_threads(setup, *size) if as_written else contextlib.nullcontext()
            with profiled(setup.backend, f"outputs of {size[0]} rows"), blas:
                parts.append(apply(variables, *rows))
        return parts[0] if len(parts) == 1 else setup.backend.xp.concat(parts)

    def measure(
        self,
        setup: Setup,
        variables: Variables,
        rows: Rows,
        *,
        with_loss: bool = True,
        again: bool = False,
        lower: str | None = None,
    ) -> dict[str, float]:
        """Return the loss and the metrics on ``rows``, outside training mode; one transfer in all."""
        if not with_loss and not setup.metrics:
            return {}
        with profiled(setup.backend, f"evaluation of {rows.X.shape[0]} rows"):
            outputs = self.outputs(setup, variables, rows.X, rows.weight, again=again, lower=lower)
            return self.measured(setup, outputs, rows, with_loss=with_loss, again=again)

    def measured(
        self, setup: Setup, outputs: Any, rows: Rows, *, with_loss: bool = True, again: bool = False
    ) -> dict[str, float]:
        """Return the loss and the metrics of outputs for ``rows``."""
        named: dict[str, Any] = {}
        if with_loss:
            weighted = {} if rows.weight is None else {"sample_weight": of_rows(rows.weight)}
            loss = self._function("loss", setup, outputs.shape[0], again)
            named["loss"] = loss(outputs, rows.y, **weighted)
        classes = targets.is_classifier(setup.loss)
        predictions = outputs if classes else targets.link_of(setup.loss)(outputs)
        for name, metric in setup.metrics.items():
            named[name] = _one_number(setup, name, metric(predictions, rows.y))
        values = setup.backend.to_host(setup.backend.xp.stack(list(named.values())))
        return dict(zip(named, (float(v) for v in values), strict=True))

    def _function(self, name: str, setup: Setup, rows: int, again: bool, lower: str | None = None) -> Any:
        """Return the model or the loss, compiled if that number of rows was seen before, or comes again."""
        made_of = setup.model, setup.loss, setup.settings.compile
        with self._lock:
            if made_of != self._made_of:
                self._made_of, self._seen, self._programs = made_of, set(), {}
            which = name, lower or setup.settings.compile
            if which not in self._programs:
                function: Any = functools.partial(targets.mean_loss, setup.loss)
                if name == "outputs":
                    function = outputs_of(setup.model, setup.loss)
                self._programs[which] = compile(function, lower=which[1])
            if again or (name, rows) in self._seen:
                return self._programs[which]
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            self._seen.add((name, rows))
            return self._programs[which].__wrapped__  # type: ignore[attr-defined]


def _one_number(setup: Setup, name: str, value: Any) -> Any:
    """Return what a metric gave as a 0-d array of the training's dtype."""
    backend, dtype = setup.backend, setup.dtype
    if not hasattr(value, "shape") or (isinstance(value, np.generic) and backend.name != "numpy"):
        return backend.asarray(value, dtype=dtype)
    if tuple(value.shape) != ():
        raise ConfigError(
            f"metric {name}: expected a 0-d array, found shape {tuple(value.shape)}; take the mean over rows"
        )
    return backend.xp.astype(value, backend.dtype(dtype))
