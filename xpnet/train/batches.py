"""Batches: the rows of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpnet import checks, rng
from xpnet.backends import Backend
from xpnet.errors import ConfigError

__all__ = ["Batches"]

# Draws cost less an epoch when several are made together: each time twice as many, up to these.
_EPOCHS_AHEAD, _NUMBERS_AHEAD = 16, 2**15


class Batches:
    """The plan of an epoch's batches: full batch, mini-batches or single samples.

    Rows are drawn without replacement; the last batch of an epoch holds what is left over, unless that is
    dropped. The draw of an epoch depends on the seed and the epoch's number alone, so that training can
    resume anywhere.

    Args:
        rows: number of training rows.
        size: rows of a batch; None for all of them, in their order.
        order: ``"reshuffle"`` draws batches anew for each epoch; ``"fixed"`` draws them once and keeps them
            (lecture note 004 describes both). A function of the epoch's number returns the row numbers.
        key: root of the draws.
        home: where the row numbers live.
        drop_last: whether rows that do not fill a batch are left out.
    """

    def __init__(
        self,
        rows: int,
        size: int | None,
        order: str | Callable[[int], Any],
        key: rng.Key,
        home: Backend,
        *,
        drop_last: bool = False,
    ):
        if size is not None:
            size = checks.count("batch_size", size, "pass None for full batches")
        if size is not None and size > rows:
            raise ConfigError(
                f"batch_size: expected at most the {rows} training rows, found {size}; lower it, or pass "
                "None for full batches"
            )
        self.rows, self.size, self.order = rows, size, order
        self.key, self.home, self.drop_last = key.fold("shuffle"), home, drop_last
        self._drawn: tuple[int, np.ndarray] = 0, np.empty((0, rows), dtype=np.int64)
        self._sent: tuple[int, Any] = -1, None

    def or_same(self, other: Batches | None) -> Batches:
        """Return the other plan if it is the same as this one: it has draws of the next epochs already."""
        if other is None or self._settings() != other._settings():
            return self
        return other

    def _settings(self) -> tuple[Any, ...]:
        return self.rows, self.size, self.order, self.key, self.home, self.drop_last

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        if self.size is None:
            return 1
        return self.rows // self.size if self.drop_last else -(-self.rows // self.size)

    def epoch(self, number: int) -> Iterator[tuple[Any, int]]:
        """Yield the batches of an epoch: their row numbers on the device (None: all rows), and how many."""
        for orders, count, _ in self.chunks(number, 1):
            yield None if orders is None else orders[0, ...], count

    def chunks(self, number: int, steps: int) -> Iterator[tuple[Any, int, int]]:
        """Yield the batches of an epoch, up to ``steps`` of one size together.

        Each time their row numbers (steps, batch) on the device (None: all rows), the rows of a batch, and
        how many batches.
        """
        if self.size is None:
            yield None, self.rows, 1
            return
        xp = self.home.xp
        order = self._permutation(0 if self.order == "fixed" else number)
        whole = self.rows // self.size
        for first in range(0, whole, steps):
            count = min(steps, whole - first)
            part = order[first * self.size : (first + count) * self.size]
            yield xp.reshape(part, (count, self.size)), self.size, count
        rest = 0 if self.drop_last else self.rows - whole * self.size
        if rest:
            yield xp.reshape(order[whole * self.size :], (1, rest)), rest, 1

    def _permutation(self, draw: int) -> Any:
        """Return the rows in the order of an epoch, on the device; drawn for several epochs of few rows."""
        first, orders = self._drawn
        if not first <= draw < first + len(orders):
            self._drawn = first, orders = draw, self._draw(draw, len(orders))
            self._sent = -1, None
        if self._sent[0] != draw:
            self._sent = draw, self.home.asarray(orders[draw - first])  # one transfer an epoch
        return self._sent[1]

    def _draw(self, first: int, before: int) -> np.ndarray:
        """Return the rows in the order of some epochs from ``first`` on, after ``before`` last time."""
        if callable(self.order):
            return np.asarray(self.order(first))[None, :]
        ahead = 1
        if self.order == "reshuffle":
            ahead = max(1, min(2 * before, _EPOCHS_AHEAD, _NUMBERS_AHEAD // self.rows))
        return rng.permutations(self.key, first, ahead, self.rows)
