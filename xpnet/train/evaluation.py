"""The model outside training: outputs, loss and metrics on rows, computed in parts."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends.profiling import profiled
from xpnet.errors import ConfigError
from xpnet.program import Compiled, compile
from xpnet.train import targets
from xpnet.train.rows import Rows

if TYPE_CHECKING:
    from xpnet.train.predictor import Predictor

__all__ = ["Evaluation"]

_ROWS = 4096  # computed at a time
_SEEN = 1000  # numbers of rows that are remembered


class Evaluation:
    """Computes outputs, loss and metrics of trainers, by compiled programs.

    Numbers of rows that are seen once, as when single requests are predicted, are not worth a program: one is
    made when a number comes again. Those of a run of training do, so they have one from the start; and a run
    that is resumed then has the same numbers.
    """

    def __init__(self) -> None:
        self._programs: dict[str, Compiled] = {}
        self._made_of: tuple[Any, ...] = ()
        self._seen: set[tuple[str, int]] = set()

    def outputs(self, trainer: Predictor, X: Any, *, again: bool = False) -> Any:
        """Return the model's raw outputs for rows on the device; ``again``: so many rows will come again."""
        n = X.shape[0]
        parts = []
        for start in range(0, n, _ROWS):
            rows = X[start : min(start + _ROWS, n), ...]
            apply = self._function("outputs", trainer, rows.shape[0], again)
            with profiled(trainer.backend, f"outputs of {rows.shape[0]} rows"):
                parts.append(apply(trainer.variables, rows))
        return parts[0] if len(parts) == 1 else trainer.backend.xp.concat(parts)

    def measure(
        self, trainer: Predictor, rows: Rows, *, with_loss: bool = True, again: bool = False
    ) -> dict[str, float]:
        """Return the loss and the metrics on ``rows``, outside training mode; one transfer in all."""
        if not with_loss and not trainer.metrics:
            return {}
        with profiled(trainer.backend, f"evaluation of {rows.X.shape[0]} rows"):
            return self._measured(trainer, rows, with_loss, again)

    def _measured(self, trainer: Predictor, rows: Rows, with_loss: bool, again: bool) -> dict[str, float]:
        outputs = self.outputs(trainer, rows.X, again=again)
        named: dict[str, Any] = {}
        if with_loss:
            weighted = {} if rows.weight is None else {"sample_weight": rows.weight}
            loss = self._function("loss", trainer, outputs.shape[0], again)
            named["loss"] = loss(outputs, rows.y, **weighted)
        classes = targets.is_classifier(trainer.loss)
        predictions = outputs if classes else targets.link_of(trainer.loss)(outputs)
        for name, metric in trainer.metrics.items():
            named[name] = _one_number(trainer, name, metric(predictions, rows.y))
        values = trainer.backend.to_host(trainer.backend.xp.stack(list(named.values())))
        return dict(zip(named, (float(v) for v in values), strict=True))

    def _function(self, name: str, trainer: Predictor, rows: int, again: bool) -> Any:
        """Return the model or the loss, compiled if that number of rows was seen before, or comes again."""
        made_of = trainer.model, trainer.loss, trainer.compile
        if made_of != self._made_of:
            self._made_of, self._seen = made_of, set()
            mean_loss = functools.partial(targets.mean_loss, trainer.loss)
            functions: dict[str, Any] = {"outputs": trainer.model.apply, "loss": mean_loss}
            self._programs = {n: compile(f, lower=trainer.compile) for n, f in functions.items()}
        if again or (name, rows) in self._seen:
            return self._programs[name]
        if len(self._seen) >= _SEEN:
            self._seen.clear()
        self._seen.add((name, rows))
        return self._programs[name].__wrapped__  # type: ignore[attr-defined]


def _one_number(trainer: Predictor, name: str, value: Any) -> Any:
    """Return what a metric gave as a 0-d array of the training's dtype."""
    backend, dtype = trainer.backend, trainer.dtype
    if not hasattr(value, "shape") or (isinstance(value, np.generic) and backend.name != "numpy"):
        return backend.asarray(value, dtype=dtype)
    if tuple(value.shape) != ():
        raise ConfigError(
            f"metric {name}: expected a 0-d array, found shape {tuple(value.shape)}; take the mean over rows"
        )
    return backend.xp.astype(value, backend.dtype(dtype))
