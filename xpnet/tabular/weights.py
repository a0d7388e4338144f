"""Weights of the rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data import Decision, check_arrays
from xpnet.errors import DataError
from xpnet.text import count

if TYPE_CHECKING:
    import polars

__all__ = ["rows_that_count"]


def rows_that_count(
    frame: polars.DataFrame, sample_weight: Any
) -> tuple[polars.DataFrame, np.ndarray, list[Decision]]:
    """Return the rows of weight above 0, their weights, and what is to be told of the others.

    Only ratios of weights matter, so the power of two of the largest is taken out: sums do not overflow.

    Args:
        frame: the table.
        sample_weight: (rows,) numbers that are not negative, of any library.

    Raises:
        DataError: other things, or no weight above 0.

    Example:
        >>> import polars
        >>> frame, weight, told = rows_that_count(polars.DataFrame({"a": [1, 2, 3]}), [4.0, 0.0, 2.0])
        >>> frame["a"].to_list(), weight.tolist(), str(told[0])
        ([1, 3], [0.5, 0.25], '1 row of weight 0 is left out: rows are numbered without it')
    """
    shape = np.shape(sample_weight)
    if shape != (frame.height,):
        raise DataError(
            f"sample_weight: expected {frame.height:,} numbers, one for each row of the table, found shape "
            f"{shape}"
        )
    checked = check_arrays(np.zeros((frame.height, 1)), sample_weight=sample_weight).sample_weight
    assert checked is not None
    weight = checked.astype(np.float64)
    weight = np.ldexp(weight, -np.frexp(weight.max())[1])
    counting = weight > 0
    left_out = frame.height - int(np.count_nonzero(counting))
    if not left_out:
        return frame, weight, []
    are, them = ("is", "it") if left_out == 1 else ("are", "them")
    what = f"{count(left_out, 'row')} of weight 0 {are} left out"
    told = Decision(None, what, f"rows are numbered without {them}")
    return frame.filter(counting), weight[counting], [told]
