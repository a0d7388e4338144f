"""Predictions of a trained network as a table, in the terms of the target columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.data import Encoder, listed
from xpnet.errors import DataError, Words, suggest, use
from xpnet.tabular.frames import called, tell, to_frame
from xpnet.tabular.scoring import predict_classes, predict_probabilities, predict_values
from xpnet.text import count
from xpnet.train import Trainer

if TYPE_CHECKING:
    import polars

__all__ = ["predictions"]

_log = logging.getLogger("xpnet.tabular")


def predictions(
    trainer: Trainer,
    encoder: Encoder,
    table: Any,
    *,
    missing: str | None = None,
    unseen: str = "error",
    keep: Sequence[str] = (),
) -> polars.DataFrame:
    """Return predictions for the rows of a table, in their order, one row for each.

    The column ``prediction`` is followed, for classes, by ``probability_<class>`` for each of them, if the
    loss gives probabilities. Of several targets there is a column ``prediction_<target>`` for each, and for
    classes ``probability_<target>=<class>`` of its second class. Rows that the policy ``missing="drop"``
    leaves out have empty cells.

    Args:
        trainer: the network.
        encoder: the encoder that it was trained with.
        table: of any kind that `xpnet.tabular.frames.to_frame` knows.
        missing, unseen: what becomes of such cells, as for `Encoder.encode`.
        keep: columns of the table that stand before the predictions, cells as they are in a file. A name with
            commas that is no column is several names if all of these are.

    Raises:
        DataError: the table cannot be read or lacks columns, or cells cannot be used.
    """
    frame, name = to_frame(table, encoder, keep), called(table)
    beside = frame.select(_named(keep, frame.columns, name))
    made = _predictions(trainer, encoder, frame, name, missing=missing, unseen=unseen)
    for column in set(beside.columns) & set(made.columns):
        raise DataError(f"keep: the column '{column}' of {name} has the name of a prediction; rename it")
    return beside.hstack(made) if beside.width else made


def _named(keep: Sequence[str], columns: Sequence[str], table: str) -> list[str]:
    """Return the columns that are named, each once, in the order of their names."""
    names = listed(keep, columns)
    for name in names:
        if name not in columns:
            raise DataError(f"keep: {table} has no column '{name}'{suggest(name, columns)}")
    return list(names)


def _predictions(
    trainer: Trainer, encoder: Encoder, frame: polars.DataFrame, name: str, **policies: Any
) -> polars.DataFrame:
    """Return the columns of predictions; ``name`` is what the table is called in messages."""
    import polars as pl

    if frame.height == 0:
        raise DataError(f"{name} has no rows: nothing to predict")
    X, _, kept = encoded = encoder.encode(frame, target=False, **policies)
    tell(encoded.decisions)
    if len(kept) == 0:
        raise DataError(f"each of the {frame.height} rows of {name} has a bad cell: nothing to predict")
    columns = _columns(trainer, encoder, X)
    # an array of Python's whole numbers, which are classes beyond 64 bits, is no column but its list is
    table = pl.DataFrame(
        [pl.Series(name, v.tolist() if v.dtype == object else v) for name, v in columns.items()]
    )
    if len(kept) < frame.height:
        left_out = count(frame.height - len(kept), "row")
        _log.warning(Words(f"{left_out} with missing cells: no prediction there ({use('missing', 'drop')})"))
        table = (
            pl.DataFrame({"row": np.arange(frame.height)})
            .join(table.with_columns(pl.Series("row", kept)), on="row", how="left", maintain_order="left")
            .drop("row")
        )
    return table


def _columns(trainer: Trainer, encoder: Encoder, X: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a table of predictions."""
    several = len(encoder.targets) > 1
    if encoder.task == "regression":
        values = predict_values(trainer, encoder, X).reshape(len(X), -1)
        return {
            f"prediction_{name}" if several else "prediction": values[:, index]
            for index, name in enumerate(encoder.target_names)
        }
    decoded = encoder.decode_targets(predict_classes(trainer, X))
    probabilities = predict_probabilities(trainer, X)
    columns: dict[str, np.ndarray] = {}
    if not several:
        columns["prediction"] = decoded[encoder.target_names[0]]
        names = [f"probability_{name}" for name in encoder.classes]
    else:
        columns |= {f"prediction_{name}": classes for name, classes in decoded.items()}
        pairs = zip(encoder.target_names, encoder.target_classes, strict=True)
        names = [f"probability_{name}={classes[1]}" for name, classes in pairs]
    if probabilities is not None:
        columns |= {name: probabilities[:, index] for index, name in enumerate(names)}
    return columns
