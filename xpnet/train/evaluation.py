"""The model outside training: outputs, loss and metrics on rows, computed in parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.program import Compiled, compile
from xpnet.train import targets
from xpnet.train.rows import Rows

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["Evaluation"]

_ROWS = 4096  # computed at a time


class Evaluation:
    """Computes outputs, loss and metrics of a trainer's model, as compiled programs.

    Numbers of rows that are seen once, as when single requests are predicted, are not worth a program: one is
    made when a number comes again.
    """

    def __init__(self, trainer: Trainer):
        self._trainer = trainer
        self._programs: dict[str, Compiled] = {}
        self._made_of: tuple[Any, ...] = ()
        self._seen: set[tuple[str, int]] = set()

    def outputs(self, X: Any) -> Any:
        """Return the model's raw outputs for rows on the device."""
        n, variables = X.shape[0], self._trainer.variables
        parts = [
            self._compiled("outputs", min(_ROWS, n - start))(variables, X[start : min(start + _ROWS, n), ...])
            for start in range(0, n, _ROWS)
        ]
        return parts[0] if len(parts) == 1 else self._trainer.backend.xp.concat(parts)

    def measure(self, rows: Rows, *, with_loss: bool = True) -> dict[str, float]:
        """Return the loss and the metrics on ``rows``, outside training mode; one transfer in all."""
        trainer = self._trainer
        if not with_loss and not trainer.metrics:
            return {}
        outputs = self.outputs(rows.X)
        named: dict[str, Any] = {}
        if with_loss:
            given = [x for x in (rows.y, rows.weight) if x is not None]
            named["loss"] = self._compiled("loss", outputs.shape[0])(outputs, *given)
        classes = targets.is_classifier(trainer.loss)
        predictions = outputs if classes else targets.link_of(trainer.loss)(outputs)
        for name, metric in trainer.metrics.items():
            named[name] = self._one_number(name, metric(predictions, rows.y))
        values = trainer.backend.to_host(trainer.backend.xp.stack(list(named.values())))
        return dict(zip(named, (float(v) for v in values), strict=True))

    def _compiled(self, name: str, rows: int) -> Any:
        """Return the function called ``name``, compiled if that number of rows was seen before."""
        trainer = self._trainer
        made_of = trainer.model, trainer.loss, trainer.compile
        if made_of != self._made_of:
            self._made_of = made_of
            functions: dict[str, Any] = {"outputs": self._apply, "loss": self._loss}
            self._programs = {n: compile(f, lower=trainer.compile) for n, f in functions.items()}
            self._seen = set()
        if (name, rows) in self._seen:
            return self._programs[name]
        if len(self._seen) >= 1000:
            self._seen.clear()
        self._seen.add((name, rows))
        return self._programs[name].__wrapped__  # type: ignore[attr-defined]

    def _apply(self, variables: Variables, X: Any) -> Any:
        return self._trainer.model.apply(variables, X)

    def _loss(self, outputs: Any, y: Any, weight: Any = None) -> Any:
        return self._trainer.loss_of(outputs, Rows(None, y, weight))

    def _one_number(self, name: str, value: Any) -> Any:
        """Return what a metric gave as a 0-d array of the training's dtype."""
        backend, dtype = self._trainer.backend, self._trainer.dtype
        if not hasattr(value, "shape") or (isinstance(value, np.generic) and backend.name != "numpy"):
            return backend.asarray(value, dtype=dtype)
        if tuple(value.shape) != ():
            raise ConfigError(
                f"metric {name}: expected a 0-d array, found shape {tuple(value.shape)}; take the mean over "
                "rows"
            )
        return backend.xp.astype(value, backend.dtype(dtype))
