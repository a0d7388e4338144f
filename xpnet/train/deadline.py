"""Time limits: a training ends so early that all that follows it is done in time."""

from __future__ import annotations

import math
import sys
import time

__all__ = ["Deadline", "EpochGivenUpError", "Stopwatch", "compiling_seconds"]

_SHARE, _LEAST = 0.02, 0.05  # of the limit, or seconds, after which the clock is looked at again
_MEASURABLE = 0.01  # seconds of processor time, below which the clocks say nothing
_SLOWEST = 8.0  # so much longer than in processor time things are expected to take, at most
_FORWARD = 1 / 3  # of the time of a training row, which goes forward and backward


class EpochGivenUpError(Exception):
    """The time is over within an epoch, which is given up."""


class Stopwatch:
    """A stopwatch, running since it was made."""

    def __init__(self) -> None:
        self._began, self._worked = time.monotonic(), time.process_time()

    @property
    def seconds(self) -> float:
        """Seconds that have passed."""
        return time.monotonic() - self._began

    @property
    def slowness(self) -> float:
        """How many times as long as its processor time the process has taken, as others compute here too."""
        worked = time.process_time() - self._worked
        return min(max(1.0, self.seconds / worked), _SLOWEST) if worked > _MEASURABLE else 1.0


def compiling_seconds(arrays: int) -> float:
    """Return how long numba takes to compile the step of a network with so many arrays, or less.

    >>> compiling_seconds(4), compiling_seconds(16)  # an MLP with one hidden layer; RealMLP
    (3.0, 9.0)
    """
    return 1.0 + 0.5 * arrays


class Deadline:
    """The end of a training's time, and how long what is still to be done is expected to take.

    Args:
        seconds: the limit; None for none.
        stopwatch: runs since the time began; None: from now on.
        reserved: seconds of processor time for what follows the training, such as its report.
        rows: how many are evaluated after the training.

    Attributes:
        evaluation: seconds that the evaluation of an epoch takes; 0 before the first.
        epoch: seconds of the shortest epoch; 0 before the second, as the first one compiles.
        missed: whether something is left out for want of time.

    >>> deadline = Deadline(60.0, reserved=2.0)
    >>> 57.0 < deadline.left < 58.0, deadline.is_over(), Deadline().left
    (True, False, inf)
    """

    def __init__(
        self,
        seconds: float | None = None,
        stopwatch: Stopwatch | None = None,
        *,
        reserved: float = 0.0,
        rows: int = 0,
    ):
        self.seconds = math.inf if seconds is None else seconds
        self.stopwatch = stopwatch or Stopwatch()
        self.reserved, self.rows = reserved * self.stopwatch.slowness, rows
        self.evaluation, self.epoch, self.missed = 0.0, 0.0, False
        self._epochs, self._row = 0, 0.0  # the latter: seconds for the evaluation of a row

    @property
    def left(self) -> float:
        """Seconds that are left for the training."""
        return self.seconds - self.reserved - self.rows * self._row - self.stopwatch.seconds

    def is_over(self, needed: float = 0.0) -> bool:
        """Return whether less time is left than is needed."""
        return self.left <= needed

    def share(self, parts: int) -> Deadline:
        """Return the deadline of the next of so many parts, which share the time that is left."""
        return Deadline(None if self.seconds == math.inf else max(0.0, self.left / parts))

    def steps(self, half_second: int) -> int:
        """Return after how many steps the clock is looked at.

        Args:
            half_second: number of steps that are expected to take half a second.
        """
        if self.seconds == math.inf:
            return sys.maxsize
        return max(1, int(2.0 * max(_SHARE * self.seconds, _LEAST) * half_second))

    def may_compile(self, compiling: float) -> bool:
        """Return whether there is time to compile steps by numba.

        Args:
            compiling: seconds of processor time that this takes.
        """
        return self.left > compiling * self.stopwatch.slowness

    def expect_evaluation(self, began: float, trained: int, rows: int) -> None:
        """Estimate the first evaluation, of so many rows, by the training rows since ``began``."""
        if not self._epochs:
            self.see_evaluation(_FORWARD * (time.monotonic() - began) * rows / trained, rows)

    def see_evaluation(self, seconds: float, rows: int) -> None:
        """Take into account how long the evaluation of so many rows took."""
        self.evaluation, self._row = seconds, seconds / rows if rows else 0.0

    def share_evaluation(self, other: Deadline) -> None:
        """Take into account what another deadline knows of evaluations."""
        self._row = other._row

    def see_epoch(self, seconds: float) -> None:
        """Take into account how long an epoch took, with all that is done after it."""
        self._epochs += 1
        if self._epochs > 1:
            self.epoch = min(seconds, self.epoch or math.inf)
