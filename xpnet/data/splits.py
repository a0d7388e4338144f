"""Rows split into a training, a validation and a test part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xpnet.errors import ConfigError, DataError, use

if TYPE_CHECKING:
    import polars

    from xpnet.data.columns import Reading

__all__ = ["exchange", "fold_rows", "order_of", "split_rows"]

_FEW_ROWS = 5  # up to so many it is a matter of their number that each has a class of its own
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def split_rows(
    n: int,
    *,
    validation: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    stratify: Sequence[int] | np.ndarray | None = None,
    order: Sequence[float] | np.ndarray | None = None,
    groups: Sequence[int] | np.ndarray | None = None,
) -> Parts:
    """Split the rows 0 .. n-1 into training, validation and test rows.

    A part of fraction f takes round(f n) rows, but at least one if f > 0; training takes the rest.

    - By default they are drawn at random. With ``stratify`` each part holds the classes in proportion: f n_c
      rows of class c, rounded so that the sum is kept (largest remainder), but each class keeps at least one
      row for training.
    - With ``order`` the rows are taken in that order: the last ones are test rows, those before them
      validation rows.
    - With ``groups`` the rows of a group stay in one part. The groups are given away one by one, large ones
      first, each to the part that lacks most of what it brings; a part is as large as whole groups allow.

    Args:
        n: number of rows.
        validation: fraction of rows in [0, 1).
        test: fraction of rows in [0, 1).
        seed: seed of the shuffle, drawn from ``xpnet.rng.key(seed).fold("split")``.
        stratify: class of each row, shape (n,); None does not stratify.
        order: number of each row by which they are ordered, shape (n,); equal ones stay as they are.
        groups: group of each row, shape (n,).

    Returns:
        The rows of the three parts, int64, each in ascending order; a part of fraction 0 is empty.

    Raises:
        ConfigError: a fraction is out of range, or two arguments contradict each other.
        DataError: there are too few rows or groups.

    Example:
        >>> train, validation, test = split_rows(10, validation=0.2, test=0.1, seed=0)
        >>> len(train), len(validation), len(test)
        (7, 2, 1)
        >>> [part.tolist() for part in split_rows(5, test=0.4, order=[9, 1, 8, 2, 3])]
        [[1, 3, 4], [], [0, 2]]
    """
    wanted = _sizes(n, validation, test)
    if order is not None and (groups is not None or stratify is not None):
        other = "groups" if groups is not None else "stratify"
        raise ConfigError(f"order: expected no {other} with it, which asks for another split; leave one out")
    classes = np.zeros(n, dtype=np.int64) if stratify is None else _numbered("stratify", n, stratify)
    if order is None and groups is None:
        return _random(classes, wanted, (validation, test), seed)
    if order is not None:
        values = np.asarray(order)
        if values.shape != (n,):
            raise ConfigError(f"order needs one number for each of the {n} rows; found shape {values.shape}")
        _check_enough(n, 1, wanted)
        ranked = np.argsort(values, kind="stable").astype(np.int64)
        held_out = wanted["validation"] + wanted["test"]
        parts = np.split(ranked, [n - held_out, n - wanted["test"]])
        return np.sort(parts[0]), np.sort(parts[1]), np.sort(parts[2])
    assert groups is not None
    return _grouped(classes, _numbered("groups", n, groups), wanted, seed)


def _sizes(n: int, validation: float, test: float) -> dict[str, int]:
    """Return how many rows the parts are to have."""
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
    return {
        name: max(1, math.floor(fraction * int(n) + 0.5)) if fraction else 0
        for name, fraction in (("validation", validation), ("test", test))
    }


def _check_enough(n: int, classes: int, wanted: dict[str, int]) -> None:
    if n - classes >= sum(wanted.values()):
        return
    if classes == n > _FEW_ROWS:
        raise DataError(
            f"each of {n:,} rows has a class of its own, nothing to learn from: choose another target; for "
            f"numbers use {use('task', 'regression')}"
        )
    asked = " and ".join(f"{size} {name}" for name, size in wanted.items() if size)
    of_classes = f" in {classes} classes" if classes > 1 else ""
    beside = "one training row of each class" if classes > 1 else "a training row"
    remedies = " and ".join(use(name, 0) for name, size in wanted.items() if size)
    raise DataError(
        f"{n} row{'s' * (n != 1)}{of_classes}: too few to split, as {asked} "
        f"{'row is' if sum(wanted.values()) == 1 else 'rows are'} asked for beside {beside}; give more rows, "
        f"or hold none out with {remedies}"
    )


def _numbered(name: str, n: int, labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return whole numbers from 0 on in place of labels."""
    found = np.asarray(labels)
    if found.shape != (n,):
        raise ConfigError(f"{name} needs one class for each of the {n} rows; found shape {found.shape}")
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _random(classes: np.ndarray, wanted: dict[str, int], fractions: tuple[float, float], seed: int) -> Parts:
    from xpnet import rng

    n, sizes = len(classes), np.bincount(classes)
    _check_enough(n, len(sizes), wanted)
    order = rng.permutation(rng.key(seed).fold("split"), n)
    # sorted by class, each class in shuffled order: taking from the front of a class is a random draw
    by_class = order[np.argsort(classes[order], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    taken = np.zeros_like(sizes)
    parts = []
    for total, fraction in zip(wanted.values(), fractions, strict=True):
        counts = _shares(fraction * sizes, total, sizes - 1 - taken)
        first = starts + taken
        chosen = [by_class[begin : begin + count] for begin, count in zip(first, counts, strict=True)]
        parts.append(np.sort(np.concatenate(chosen)))
        taken = taken + counts
    rest = [by_class[begin:end] for begin, end in zip(starts + taken, starts + sizes, strict=True)]
    return np.sort(np.concatenate(rest)), parts[0], parts[1]


def _shares(quotas: np.ndarray, total: int, most: np.ndarray) -> np.ndarray:
    """Return how many rows each class gives to a part, at most ``most`` of each: largest remainder."""
    counts = np.minimum(np.floor(quotas).astype(np.int64), most)
    by_remainder = np.argsort(-(quotas - np.floor(quotas)), kind="stable")
    while (short := total - int(counts.sum())) > 0:
        counts[[index for index in by_remainder if counts[index] < most[index]][:short]] += 1
    return counts


def _grouped(classes: np.ndarray, groups: np.ndarray, wanted: dict[str, int], seed: int) -> Parts:
    """Give whole groups to the parts, so that these come close to what is wanted, class by class.

    As in scikit-learn's StratifiedGroupKFold: greedily, from the group with the most rows on.
    """
    from xpnet import rng

    counts = np.zeros((groups.max() + 1, classes.max() + 1))
    np.add.at(counts, (groups, classes), 1)
    totals = counts.sum(axis=0)
    shares = np.asarray([len(classes) - sum(wanted.values()), *wanted.values()]) / len(classes)
    asked = np.flatnonzero(shares > 0)
    if len(counts) < len(asked):
        raise DataError(
            f"{len(counts)} group{'s' * (len(counts) != 1)} for {len(asked)} parts (training and those that "
            "are held out), and rows of a group stay together: too few; hold less out with "
            f"{use('validation', 0)} or {use('test', 0)}, or split by another column"
        )
    lacking = shares[:, None] * totals
    shuffled = rng.permutation(rng.key(seed).fold("split"), len(counts))
    part_of = np.zeros(len(counts), dtype=np.int64)
    given = np.zeros(3, dtype=np.int64)
    by_size = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    for index, group in enumerate(by_size):
        empty = [part for part in asked if given[part] == 0]
        able = empty if len(by_size) - index <= len(empty) else asked
        # the squared distance from what is wanted, which the group changes by counts² - 2 counts · lacking
        change = ((counts[group] ** 2 - 2 * counts[group] * lacking) / totals).sum(axis=1)
        chosen = min(able, key=lambda part: change[part])
        part_of[group] = chosen
        given[chosen] += 1
        lacking[chosen] -= counts[group]
    for unseen in np.flatnonzero(counts[part_of == 0].sum(axis=0) == 0):
        holders = [g for g in np.flatnonzero(counts[:, unseen]) if given[part_of[g]] > 1]
        if not holders:
            raise DataError(
                f"a class is in {np.count_nonzero(counts[:, unseen])} of {len(counts)} groups only, all of "
                "which are held out: training would not know it; give more groups, or hold less out"
            )
        moved = min(holders, key=lambda g: counts[g].sum())
        given[part_of[moved]] -= 1
        part_of[moved] = 0
    train, validation, test = (np.flatnonzero(part_of[groups] == part) for part in range(3))
    return train, validation, test


def fold_rows(
    n: int,
    folds: int,
    *,
    seed: int = 0,
    stratify: Sequence[int] | np.ndarray | None = None,
    groups: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Return the fold of each of the rows 0 .. n-1, int64 from 0 to folds - 1.

    Folds are drawn at random and of equal size, up to one row, and each has its share of the rows of each
    class; whole groups are given away one by one, large ones first, each to the fold with the fewest rows.

    Args:
        n: number of rows.
        folds: how many.
        seed: seed of the shuffle, drawn from ``xpnet.rng.key(seed).fold("folds")``.
        stratify: class of each row, shape (n,); None does not stratify.
        groups: group of each row, shape (n,), which stays in one fold; classes do not count then.

    Raises:
        DataError: there are fewer rows or groups than folds.

    Example:
        >>> found = fold_rows(10, 5, stratify=[0, 1] * 5)
        >>> [sorted(row % 2 for row in range(10) if found[row] == fold) for fold in range(5)]
        [[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    """
    from xpnet import rng

    classes = np.zeros(n, dtype=np.int64) if stratify is None else _numbered("stratify", n, stratify)
    parts = np.arange(n) if groups is None else _numbered("groups", n, groups)
    sizes = np.bincount(parts)
    if len(sizes) < folds:
        what = "rows" if groups is None else "groups"
        raise DataError(
            f"{len(sizes)} {what} for {folds} folds: too few; ask for fewer with {use('folds', 2)}, or leave "
            "folds out"
        )
    shuffled = rng.permutation(rng.key(seed).fold("folds"), len(sizes))
    found = np.empty(len(sizes), dtype=np.int64)
    if groups is None:
        found[shuffled[np.argsort(classes[shuffled], kind="stable")]] = np.arange(n) % folds
        return found
    given = np.zeros(folds, dtype=np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        found[group] = np.argmin(given)
        given[found[group]] += sizes[group]
    return found[parts]


def exchange(
    parts: Sequence[np.ndarray], rows: np.ndarray, kept: np.ndarray, classes: np.ndarray, seed: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the parts with held-out rows made training rows, and others held out in their place.

    Args:
        parts: training, validation and test rows.
        rows: of the latter two, to be made training rows.
        kept: rows that stay in training.
        classes: of all rows, (n,); a row changes places with one of its class, if there is one.
        seed: seed of the draw.

    Returns:
        The parts, as large as before, and the rows that could not be exchanged.

    Example:
        >>> drawn = [np.asarray([0, 1]), np.asarray([], dtype=int), np.asarray([2])]
        >>> parts, left = exchange(drawn, np.asarray([2]), np.asarray([0, 2]), np.zeros(3, dtype=int), seed=0)
        >>> [part.tolist() for part in parts], left.tolist()
        ([[0, 2], [], [1]], [])
    """
    from xpnet import rng

    shuffled = rng.permutation(rng.key(seed).fold("exchange"), len(classes))
    free = np.isin(shuffled, np.setdiff1d(parts[0], kept))
    candidates: dict[int, list[int]] = {}
    for row in shuffled[free][::-1]:
        candidates.setdefault(int(classes[row]), []).append(int(row))
    number = dict(zip(*np.unique(classes[parts[0]], return_counts=True), strict=True))
    made = [set(part.tolist()) for part in parts]
    left = []
    for row in rows.tolist():
        of_class = candidates.get(int(classes[row]))
        others = (c for c, found in candidates.items() if found and number[c] > 1)
        found = of_class or candidates.get(next(others, -1))
        if not found:
            left.append(row)
            continue
        other = found.pop()
        number[int(classes[other])] -= 1
        number[int(classes[row])] = number.get(int(classes[row]), 0) + 1
        place = next(part for part in made[1:] if row in part)
        place.remove(row)
        place.add(other)
        made[0].remove(other)
        made[0].add(row)
    return [np.asarray(sorted(part), dtype=np.int64) for part in made], np.asarray(left, dtype=np.int64)


def order_of(column: polars.Series, reading: Reading | None = None) -> np.ndarray:
    """Return numbers (n,) that order rows as the cells of a column do: numbers, dates and times.

    Args:
        column: the cells.
        reading: what is declared about text.

    Raises:
        DataError: a cell is missing, or text that is neither a number nor a date such as 2024-05-31, or can
            be read in two ways; or all cells are the same.

    Example:
        >>> import polars
        >>> order_of(polars.Series("day", ["2024-05-31", "2023-01-01", "2024-06-01"])).tolist()
        [2, 1, 3]
    """
    import polars as pl

    if column.dtype.is_float():
        column = column.fill_nan(None)
    missing = column.null_count()
    if missing:
        first = int(column.is_null().arg_max() or 0)
        raise DataError(
            f"column '{column.name}' is empty in {missing} of {len(column)} rows, the first of which is row "
            f"{first + 1}: these have no place in its order; fill them in, or leave the rows out"
        )
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        column = _as_ordered(column.cast(pl.String), reading)
    ranks = column.rank("dense").to_numpy().astype(np.int64)
    if len(ranks) > 1 and ranks.max() == 1:
        raise DataError(
            f"column '{column.name}' holds {column[0]} in all {len(column):,} rows, which is no order: "
            "split by another column"
        )
    return ranks


def _as_ordered(texts: polars.Series, reading: Reading | None) -> polars.Series:
    """Return a column of text as numbers or times."""
    import polars as pl

    from xpnet.data.columns.choice import UNDECLARED, number_notation
    from xpnet.data.columns.date_text import form_of, read_dates

    reading = reading or UNDECLARED
    if texts.str.contains(r"^[+-]?[0-9]{1,15}$").all():  # leading zeros change no order
        return texts.cast(pl.Int64)
    notation = number_notation(texts, reading)
    numbers = np.full(len(texts), np.nan) if notation is None else notation.read(texts)
    lacking = np.isnan(numbers)
    if lacking.any():
        found = form_of(texts, dayfirst=reading.dayfirst)
        if found is not None:
            moments = read_dates(texts, found.form)
            lacking = np.isnat(moments)
            numbers = moments.view(np.int64)
    if not lacking.any():
        return pl.Series(texts.name, numbers)
    raise DataError(
        f"column '{texts.name}' is text without an order, such as '{texts[int(np.argmax(lacking))]}'; "
        "expected numbers, or dates and times such as 2024-05-31 or 2024-05-31 12:30: correct it, or split "
        "by another column"
    )
