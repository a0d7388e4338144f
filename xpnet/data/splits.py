"""Rows split into a training, a validation and a test part."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xpnet.errors import ConfigError

__all__ = ["split_rows"]


def split_rows(
    n: int,
    *,
    validation: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    stratify: Sequence[int] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split the rows 0 .. n-1 at random into training, validation and test rows.

    A part of fraction f takes round(f n) rows, but at least one if f > 0; training takes the rest. With
    ``stratify`` each part holds the classes in proportion: f n_c rows of class c, rounded so that the sum is
    kept (largest remainder), and each class keeps at least one row for training. A part may then be smaller
    than asked for, where classes are small.

    Args:
        n: number of rows.
        validation: fraction of rows in [0, 1).
        test: fraction of rows in [0, 1).
        seed: seed of the shuffle, drawn from ``xpnet.rng.key(seed).fold("split")``.
        stratify: class of each row, shape (n,); None does not stratify.

    Returns:
        The rows of the three parts, int64, each in ascending order; a part of fraction 0 is empty.

    Raises:
        ConfigError: a fraction is out of range, or nothing would be left for training or for another part.

    Example:
        >>> train, validation, test = split_rows(10, validation=0.2, test=0.1, seed=0)
        >>> len(train), len(validation), len(test)
        (7, 2, 1)
    """
    from xpnet import rng

    for name, fraction in (("validation", validation), ("test", test)):
        if (
            isinstance(fraction, bool)
            or not isinstance(fraction, int | float | np.number)
            or not 0 <= fraction < 1
        ):
            raise ConfigError(
                f"{name} must be a fraction of the rows, at least 0 and below 1; found {fraction!r}"
            )
    if validation + test >= 1:
        raise ConfigError(f"validation {validation} and test {test} leave no rows for training; lower them")
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ConfigError(f"n must be a number of rows, at least 1; found {n!r}")
    classes = np.zeros(n, dtype=np.int64) if stratify is None else _classes(n, stratify)
    order = rng.permutation(rng.key(seed).fold("split"), int(n))
    # grouped by class, each class in shuffled order: taking from the front of a group is a random draw
    groups = order[np.argsort(classes[order], kind="stable")]
    sizes = np.bincount(classes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    taken = np.zeros_like(sizes)
    parts = []
    for name, fraction in (("validation", validation), ("test", test)):
        counts = _shares(sizes, fraction, sizes - 1 - taken)
        if fraction > 0 and counts.sum() == 0:
            raise ConfigError(
                f"{name} {fraction} of {n} rows in {len(sizes)} classes leaves no row for it, as "
                f"training keeps one of each class; give more rows, or ask for none ({name} 0)"
            )
        first = starts + taken
        chosen = [groups[begin : begin + count] for begin, count in zip(first, counts, strict=True)]
        parts.append(np.sort(np.concatenate(chosen)))
        taken = taken + counts
    rest = [groups[begin:end] for begin, end in zip(starts + taken, starts + sizes, strict=True)]
    return np.sort(np.concatenate(rest)), parts[0], parts[1]


def _classes(n: int, stratify: Sequence[int] | np.ndarray) -> np.ndarray:
    labels = np.asarray(stratify)
    if labels.shape != (n,):
        raise ConfigError(f"stratify needs one class for each of the {n} rows; found shape {labels.shape}")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _shares(sizes: np.ndarray, fraction: float, most: np.ndarray) -> np.ndarray:
    """Return how many rows each class gives to a part, at most ``most`` of each: largest remainder."""
    if fraction == 0:
        return np.zeros_like(sizes)
    total = max(1, math.floor(fraction * int(sizes.sum()) + 0.5))
    quotas = fraction * sizes
    counts = np.minimum(np.floor(quotas).astype(np.int64), most)
    by_remainder = np.argsort(-(quotas - np.floor(quotas)), kind="stable")
    while (short := total - int(counts.sum())) > 0:
        open_classes = [index for index in by_remainder if counts[index] < most[index]][:short]
        if not open_classes:
            break
        counts[open_classes] += 1
    return counts
