"""One training on several devices, compared with the same on the reference."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xpnet.backends import Backend
from xpnet.errors import DivergedError
from xpnet.optim import Method
from xpnet.train import targets
from xpnet.train.agreement import tolerance
from xpnet.train.agreement.differences import Difference, count_differing, largest_difference
from xpnet.train.agreement.measurement import AFTER, Case, Measured, draws, measure
from xpnet.train.agreement.report import ParityRow

__all__ = ["Comparison"]


class _Known(NamedTuple):
    """Results of the reference in a dtype, and their tolerances.

    Attributes:
        dtype: the dtype.
        measured: as it is.
        moved: the same from changed inputs and weights.
        roundings: how many a number goes through in a step, and in all steps.
    """

    dtype: str
    measured: Measured
    moved: list[Measured]
    roundings: tuple[int, int]

    def tolerance(self, check: str, name: str) -> float:
        """Return how far an array of a check may be from the reference's, relative to its largest number."""
        wanted = self.measured[check][name]
        found = [largest_difference(name, wanted, other[check][name]).figure for other in self.moved]
        movement = max(math.inf if figure is None else figure for figure in found)
        bound = tolerance.bound(self.dtype, self.roundings[check in AFTER])
        return bound * tolerance.condition(self.dtype, movement)


class Comparison:
    """Compares one training on devices with the same on the reference, whose steps are not compiled.

    Args:
        case: the training.
        reference: the device whose numbers count.
    """

    def __init__(self, case: Case, reference: Backend):
        self._case, self._reference = case, reference
        self._known = functools.cache(self._computed)
        self._drawn = functools.cache(lambda dtype: draws(case, reference, dtype, "off"))

    def rows_of(self, home: Backend, compile: str, dtypes: Sequence[str]) -> Iterator[ParityRow]:
        """Yield the rows of a device, with steps that are compiled or not.

        Raises:
            DivergedError: the training diverges on the reference.
        """
        case = self._case
        if case.steps:
            dtype = dtypes[0]  # integers are the same in all of them
            drawn = draws(case, home, dtype, compile)["draws"]
            found = [count_differing(n, x, drawn[n]) for n, x in self._drawn(dtype)["draws"].items()]
            yield self._row(home, "integers", compile, "draws", found)
        for dtype in dtypes:
            known = self._known(dtype)
            lost = None
            try:
                measured = measure(case, home, dtype, compile)
            except DivergedError as error:
                lost = str(error)
                measured = measure(case, home, dtype, compile, train=False)
            for check in known.measured.keys() & measured.keys():
                found = [self._compared(known, check, name, x) for name, x in measured[check].items()]
                yield self._row(home, dtype, compile, check, found)
            if lost is not None:
                yield self._row(home, dtype, compile, AFTER[0], [Difference("losses", None, 0.0)], lost)

    def _computed(self, dtype: str) -> _Known:
        """Return what the reference computes, as it is and from changed inputs and weights."""
        case, home = self._case, self._reference
        changes = [tolerance.change(dtype, number) for number in range(tolerance.CHANGES)]
        measured = measure(case, home, dtype, "off")
        moved = [measure(case, home, dtype, "off", change=change) for change in changes]
        trainer, batch = case.trainer, case.batch_size or len(case.X)
        settings = trainer.settings
        method = isinstance(trainer.optimizer, Method)  # whose line search multiplies vectors of parameters
        summed = bool(settings.clip_norm or settings.l1 or settings.l2 or method)
        count = tolerance.roundings(measured["gradient"], batch, sums_over_all=summed)
        return _Known(dtype, measured, moved, (count, count * max(1, case.steps)))

    def _compared(self, known: _Known, check: str, name: str, found: np.ndarray) -> Difference:
        """Return how an array of a check compares with the reference's."""
        wanted = known.measured[check][name]
        if wanted.dtype.kind not in "iub":
            return largest_difference(name, wanted, found, known.tolerance(check, name))
        told = self._told(known, check, wanted) if name == "predicted" else None
        return count_differing(name, wanted, found, told)

    def _told(self, known: _Known, check: str, classes: np.ndarray) -> np.ndarray:
        """Return which of the predicted classes are told by outputs that lie further apart than rounding."""
        outputs = known.measured[check]["outputs"]
        room = known.tolerance(check, "outputs") * np.abs(outputs).max()
        if targets.kind_of(self._case.trainer.loss) == "classes":
            second, first = np.sort(outputs, axis=-1)[..., -2:].T
            return first - second > 2 * room
        return np.abs(outputs).reshape(classes.shape) > room

    def _row(
        self, home: Backend, dtype: str, compile: str, check: str, found: list[Difference], note: str = ""
    ) -> ParityRow:
        """Return the row of a check: its worst array."""
        case = self._case
        undecided = tuple(one.name for one in found if one.verdict == "undecided")
        worst = max(found, key=lambda one: (one.name not in undecided, one.ratio))
        return ParityRow(
            home.spec, case.network, case.loss, dtype, compile, check, len(found), worst.figure,
            worst.tolerance, worst.verdict, worst.name, worst.entry, worst.expected, worst.found,
            undecided, note,
        )  # fmt: skip
