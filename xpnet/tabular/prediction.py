"""Predictions of a trained network as a table, in the terms of the target columns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data import Encoder
from xpnet.errors import DataError, Words, use
from xpnet.tabular.frames import tell
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
    frame: polars.DataFrame,
    *,
    name: str = "the table",
    missing: str | None = None,
    unseen: str = "error",
) -> polars.DataFrame:
    """Return predictions for the rows of a table, in their order, one row for each.

    The column ``prediction`` is followed, for classes, by ``probability_<class>`` for each of them, if the
    loss gives probabilities. Of several targets there is a column ``prediction_<target>`` for each, and for
    classes ``probability_<target>=<class>`` of its second class. Rows that the policy ``missing="drop"``
    leaves out have empty cells.

    Args:
        trainer: the network.
        encoder: the encoder that it was trained with.
        frame: the table.
        name: what it is called in messages.
        missing, unseen: what becomes of such cells, as for `Encoder.encode`.

    Raises:
        DataError: the table lacks columns, or cells cannot be used.
    """
    import polars as pl

    if frame.height == 0:
        raise DataError(f"{name} has no rows: nothing to predict")
    X, _, kept = encoded = encoder.encode(frame, target=False, missing=missing, unseen=unseen)
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
