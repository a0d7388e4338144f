"""The state of a training: everything that an epoch changes, saved, copied and rolled back as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet.containers import map_leaves
from xpnet.nn import Variables
from xpnet.train.history import Best, History

__all__ = ["Average", "TrainState"]

_ARRAYS = ("variables", "opt_state", "last", "average", "mask")
_OVERWRITTEN = ("variables", "opt_state", "last", "average", "step")  # by an epoch that nobody watches


class Average(NamedTuple):
    """A mean of the variables over a training, see :mod:`xpnet.train.averaging`.

    Attributes:
        variables: the mean.
        terms: of how many steps or epochs.
        kind: ``"ema"``, an exponential moving average of steps, or ``"swa"``, a mean of epochs.
    """

    variables: Variables
    terms: int
    kind: str


@dataclasses.dataclass
class TrainState:
    """State of a training after some steps.

    Attributes:
        variables: parameters and the model's state, with which is predicted; None before training.
        opt_state: the optimizer's slots, and how many steps it has done; None before training.
        epoch, step: how many are done.
        history: a row for each epoch.
        best: the variables of the best epoch so far, its number and its validation loss; or None.
        last: the variables after the last epoch, where ``variables`` are the best ones or a mean; else None.
        average: the mean of the variables over the training, where one is asked for; or None.
        mask: a vector of 0 and 1 like the parameters: those at 0 stay 0; or None.
        patience_since: the epoch after which patience counts: that of the last pruning, or 0.
        input_shape: of a row of inputs; None before training.
        columns: names of the columns of the table that was trained on; None for arrays.
        rows: fingerprint of the rows of the last fit; None before training.
        run: what a run folder binds to the weights, as plain data; None outside of one.
    """

    variables: Variables | None = None
    opt_state: dict[str, Any] | None = None
    epoch: int = 0
    step: int = 0
    history: History = dataclasses.field(default_factory=History)
    best: Best | None = None
    last: Variables | None = None
    average: Average | None = None
    mask: Any = None
    patience_since: int = 0
    input_shape: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None
    rows: list[float] | None = None
    run: dict[str, Any] | None = None

    def copy(self) -> TrainState:
        """Return an independent state; arrays are shared, as steps give new ones."""
        return dataclasses.replace(self, history=History(self.history.rows))

    def map_arrays(self, function: Callable[[Any], Any]) -> TrainState:
        """Return a state with ``function`` applied to each array."""

        def apply(x: Any) -> Any:
            return function(x) if hasattr(x, "shape") else x

        made = {name: map_leaves(apply, getattr(self, name)) for name in _ARRAYS}
        if self.best is not None:
            made["best"] = dataclasses.replace(self.best, variables=map_leaves(apply, self.best.variables))
        return dataclasses.replace(self.copy(), **made)

    def snapshot(self, *, overwritten: bool = True) -> dict[str, Any]:
        """Return a snapshot for `restore`.

        Args:
            overwritten: whether that includes what steps may overwrite: keeping it takes the memory of the
                parameters and the optimizer's slots.
        """
        kept = {**vars(self), "history": len(self.history)}
        return kept if overwritten else {n: x for n, x in kept.items() if n not in _OVERWRITTEN}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot; the history stays the same object, with its later rows gone."""
        for name, value in snapshot.items():
            if name == "history":
                del self.history.rows[value:]
            else:
                setattr(self, name, value)

    def predict_with(self, variables: Variables) -> None:
        """Predict with other variables than those of the last step, which are kept for the next one."""
        self.last = self.variables if self.last is None else self.last
        self.variables = variables

    def predict_with_average(self) -> None:
        """Predict with the mean of the variables, if there is one."""
        if self.average is not None and self.average.terms:
            self.predict_with(self.average.variables)

    def go_on(self) -> TrainState:
        """Take the variables of the last step again, and return the same object."""
        if self.last is not None:
            self.variables, self.last = self.last, None
        return self

    def begin_patience_anew(self) -> None:
        """Restart patience and forget the best weights and the mean, after a change of the network."""
        self.best = self.last = self.average = None
        self.patience_since = self.epoch
