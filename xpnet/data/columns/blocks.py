"""Which features are numbers, which are one-hot, and which are codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xpnet.data.columns.categorical import Categorical
from xpnet.data.columns.choice import Column

__all__ = ["Blocks", "blocks_of"]


class Blocks(NamedTuple):
    """Places of features in X (rows, features) by what they are, ascending.

    Attributes:
        numbers: scaled numbers, and sines and cosines of the calendar.
        one_hot: features of categories, and those that are 1 where a number or a date is missing.
        codes: whole numbers from 0 on, which are behind all other features.
        cardinalities: of each of ``codes``, how many different ones there are: the known categories, and 0.
    """

    numbers: tuple[int, ...]
    one_hot: tuple[int, ...]
    codes: tuple[int, ...]
    cardinalities: tuple[int, ...]


def blocks_of(columns: Sequence[Column]) -> Blocks:
    """Return the places of the features of fitted columns.

    >>> one, other = Categorical("a", "str", ("x", "y")), Categorical("b", "str", ("u", "v"), form="codes")
    >>> blocks_of([one, other])
    Blocks(numbers=(), one_hot=(0, 1), codes=(2,), cardinalities=(3,))
    """
    numbers: list[int] = []
    one_hot: list[int] = []
    codes: list[int] = []
    cardinalities: list[int] = []
    stop = 0
    for column in columns:
        start, stop = stop, stop + len(column.feature_names)
        if not isinstance(column, Categorical):
            indicator = stop - column.indicator
            numbers += range(start, indicator)
            one_hot += range(indicator, stop)
        elif column.form == "codes":
            codes.append(start)
            cardinalities.append(len(column.categories) + 1)
        else:
            one_hot += range(start, stop)
    return Blocks(tuple(numbers), tuple(one_hot), tuple(codes), tuple(cardinalities))
