"""Models as folders that need NumPy alone: weights as arrays, and one readable file that predicts."""

from __future__ import annotations

import inspect
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.data import Encoder
from xpnet.data.columns import Categorical, Column, Dates, Numeric
from xpnet.data.columns.categorical import as_kind, features_of
from xpnet.data.columns.date_text import pattern_of_form
from xpnet.data.columns.scaling import NORMAL_QUANTILE, Robust, Scaling, normal_quantile, quantile, robust
from xpnet.data.notations import MISSING, Notation
from xpnet.data.numerals import spellings
from xpnet.export import readers
from xpnet.export.models import Exported, exported
from xpnet.export.network import network_of
from xpnet.export.numpy_code import Code, code_of
from xpnet.export.places import write_folder
from xpnet.version import __version__

__all__ = ["marks_of", "numpy"]

_CODE, _WEIGHTS = "predict.py", "weights.npz"
_ROWS = 4096  # computed at a time, as xpnet does: sums of other sizes may have other bits
_NUMBER = (readers.number, readers.number_cells, readers.read_number, readers.standardize)
_READERS: dict[str, tuple[Callable[..., Any], ...]] = {
    "numeric": _NUMBER,
    "categorical": (readers.category, as_kind, features_of),
    "dates": (readers.date, readers.standardize, readers.read_dates, readers.read_date),
}


_SCALINGS: dict[str, tuple[Callable[..., Any], ...]] = {
    "robust": (robust,),
    "quantile": (quantile, normal_quantile),
}


def numpy(model: Any, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a model as a folder whose code needs NumPy alone.

    It holds ``weights.npz`` and ``predict.py``, whose function ``predict`` computes the same bits as the
    model does on NumPy, from arrays, or from the columns of a table with the encoder included.

    Args:
        model: an `xpnet.Trainer`, an `xpnet.tabular.TableModel`, an `xpnet.runs.Run` or a fitted estimator of
            `xpnet.estimators`.
        folder: to be made.
        overwrite: whether an export that is there already is replaced.

    Returns:
        The folder.

    Raises:
        ConfigError: an operation has no counterpart in NumPy (the message names it and its layer), the folder
            exists already, or it cannot be written.

    Example:
        >>> import tempfile
        >>> from xpnet import tabular
        >>> model = tabular.TableModel(epochs=1, backend="numpy").fit("two-gaussians")
        >>> sorted(x.name for x in numpy(model, tempfile.mkdtemp() + "/model").iterdir())
        ['predict.py', 'weights.npz']
    """
    found = exported(model)
    code = code_of(network_of(found))
    weights = io.BytesIO()
    # by number: names of layers are names of files in the archive
    names = list(code.arrays)
    numbered: dict[str, Any] = {f"a{i}": code.arrays[name] for i, name in enumerate(names)}
    np.savez(weights, **numbered)
    text = _page(found, code, names)
    return write_folder(folder, {_CODE: text.encode(), _WEIGHTS: weights.getvalue()}, overwrite=overwrite)


def _page(model: Exported, code: Code, names: list[str]) -> str:
    encoder = model.encoder
    arrays = "\n".join(f'        {json.dumps(name)}: file["a{i}"],' for i, name in enumerate(names))
    network = "\n".join(f"    {line}" for line in code.lines)
    own = "".join(f"\n\n{inspect.getsource(f)}" for f in code.functions)
    what = "table" if encoder else "array (rows, features)"
    head = f'''"""Predictions of a network from a{"n" * (encoder is None)} {what}: see the function predict.

Written by xpnet {__version__}. It needs NumPy alone, and computes the same bits as xpnet on NumPy.
"""

from __future__ import annotations

'''
    return f"""{head}{_imports(encoder)}
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
with np.load(os.path.join(HERE, "{_WEIGHTS}"), allow_pickle=False) as file:
    W = {{
{arrays}
    }}

{_predict(model) if encoder is None else _predict_table(model, encoder)}

def network(x, rows):
    \"\"\"Return the predictions for features x, (rows, {model.width}).\"\"\"
{network}


def in_parts(X):
    \"\"\"Return the predictions for all rows of X, {_ROWS} at a time.\"\"\"
    parts = [network(X[i : i + {_ROWS}], len(X[i : i + {_ROWS}])) for i in range(0, len(X), {_ROWS})]
    return {{name: np.concat([part[name] for part in parts]) for name in parts[0]}}
{own}{_sources(encoder)}{_main(encoder)}"""


def _imports(encoder: Encoder | None) -> str:
    kinds = set() if encoder is None else {column.kind for column in encoder.columns}
    needed = ["csv", "datetime", "os", "re", "sys"] if encoder is not None else ["os"]
    for name, users in (("datetime", {"dates"}), ("re", {"dates", "numeric"})):
        if name in needed and not kinds & users:
            needed.remove(name)
    return "".join(f"import {name}\n" for name in needed)


def _predict(model: Exported) -> str:
    known = ""
    found = f"in_parts(X.astype(np.{model.dtype}))"
    ends = f"    return {found}"
    if len(model.labels) == 1:
        known = f"\nCLASSES = np.asarray({list(model.labels[0])!r})\n\n"
        ends = f"""    found = {found}
    found["label"] = CLASSES[found["label"]]
    return found"""
    return f'''{known}
def predict(X):
    """Return predictions for X, an array (rows, {model.width}): a dict of arrays."""
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != {model.width} or not len(X):
        raise ValueError(f"X has shape {{X.shape}}; expected (rows, {model.width})")
    if not np.isfinite(X).all():
        raise ValueError("X has entries that are not finite")
{ends}
'''


def _predict_table(model: Exported, encoder: Encoder) -> str:
    columns = "\n".join(_call(column) for column in encoder.columns)
    quantiles = quantile in _scalings(encoder)
    known = f"TARGETS = {list(encoder.target_names)!r}"
    if model.labels:
        pairs = zip(encoder.target_names, map(list, model.labels), strict=True)
        known = f"CLASSES = {dict(pairs)!r}"
    forms = dict.fromkeys(column.form for column in encoder.columns if isinstance(column, Dates))
    patterns = "".join(f"    {form!r}: r'{pattern_of_form(form)}',\n" for form in forms)
    return f'''
COLUMNS = {[column.name for column in encoder.columns]!r}
{known}
MISSING = {encoder.missing!r}  # what becomes of missing cells
GONE = {MISSING!r}
{f"FORMS = {{{chr(10)}{patterns}}}" if forms else ""}
{f"NORMAL_QUANTILE = {NORMAL_QUANTILE!r}" if quantiles else ""}

def predict(table, unseen="error"):
    """Return predictions for a table: a dict of arrays.

    table: a dict from the names of columns to their cells, lists or arrays of equal length; None, NaN, or ""
        among text, is a missing cell.
    unseen: "error", or "ignore", which takes categories that training did not have for none.
    """
    X, usable = encode(table, unseen)
    if MISSING != "drop" and not usable.all():
        raise ValueError(f"row {{int(np.argmin(usable)) + 1}} has a cell that is missing or infinite")
    found = in_parts(X)
{_label(model, encoder)}
    return found


def encode(table, unseen):
    """Return the features of a table, (rows, {encoder.n_features}), and which rows can be used."""
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise ValueError(f"the table lacks the columns {{lacking}}")
    columns = [
{columns}
    ]
    features = [feature for column, _ in columns for feature in column]
    usable = ~np.any([unusable for _, unusable in columns], axis=0)
    return np.column_stack(features).astype(np.float64), usable

'''


def _label(model: Exported, encoder: Encoder) -> str:
    """Return the lines that turn class numbers into classes; rows that cannot be used have no prediction."""
    lines = []
    if model.classes and len(encoder.targets) == 1:
        lines += ["(classes,) = CLASSES.values()", 'found["label"] = [classes[i] for i in found["label"]]']
    elif model.classes:
        lines += [
            "labels = zip(CLASSES.items(), found['label'].T)",
            'found["label"] = {name: [classes[i] for i in column] for (name, classes), column in labels}',
        ]
    if encoder.missing == "drop":
        lines.append("found = {name: only_usable(values, usable) for name, values in found.items()}")
    return "\n".join(f"    {line}" for line in lines)


def _call(column: Column) -> str:
    """Return the call that makes features of a column, of several lines."""
    cells = f"table[{column.name!r}], MISSING"
    if isinstance(column, Numeric):
        marks = marks_of(column.notation)
        told = [_fitted(column), *([] if marks is None else [f"marks={marks!r}"])]
        return _lines(f"number({cells}", told)
    if isinstance(column, Categorical):
        told = [
            f"kind={column.cells!r}, own_missing={column.own_missing}",
            f"categories={list(column.categories)!r}",
        ]
        if column.form != "one-hot":
            told.append(f"form={column.form!r}")
        if column.scales:
            centers, factors = column.scale_values
            told.append(f"scaling=(robust, {centers!r}, {factors!r})")
        return _lines(f"category({cells}, unseen", told)
    assert isinstance(column, Dates)
    told = [f"form={column.form!r}, cycles={list(column.cycles)!r}, indicator={column.indicator}"]
    for name, part in (("year", column.year), ("elapsed", column.elapsed)):
        told.append(f"{name}={'None' if part is None else f'dict({_fitted(part)})'}")
    return _lines(f"date({cells}, pattern=FORMS[{column.form!r}]", told)


def _lines(head: str, told: list[str]) -> str:
    inside = "".join(f"            {line},\n" for line in told)
    return f"        {head},\n{inside}        ),"


def _fitted(column: Numeric) -> str:
    return (
        f"mean={column.mean!r}, std={column.std!r}, fill={column.fill!r}, limits={column.limits!r}, "
        f"span={column.span!r}, indicator={column.indicator}{_scaled(column.scaling)}"
    )


def _scaled(scaling: Scaling | None) -> str:
    if scaling is None:
        return ""
    if isinstance(scaling, Robust):
        return f", scaling=(robust, {scaling.center!r}, {scaling.factor!r})"
    return f", scaling=(quantile, {list(scaling.quantiles)!r})"


def _scalings(encoder: Encoder) -> tuple[Callable[..., Any], ...]:
    """Return the functions that scale the features, beside mean and deviation."""
    fitted: list[Scaling | None] = []
    for column in encoder.columns:
        if isinstance(column, Categorical):
            fitted += column.scales[:1]
        else:
            parts = [column] if isinstance(column, Numeric) else [column.year, column.elapsed]
            fitted += [part.scaling for part in parts if part is not None]
    kinds = {scaling.kind for scaling in fitted if scaling is not None}
    return tuple(f for kind, functions in _SCALINGS.items() if kind in kinds for f in functions)


def marks_of(notation: Notation) -> tuple[Any, ...] | None:
    """Return the marks as `readers.read_number` takes them; None for plain numbers."""
    if notation == Notation():
        return None
    signs = ["%"] if notation.percent else spellings(notation.currency)
    escaped = "|".join(_escaped(sign) for sign in sorted(set(signs), key=len, reverse=True))
    return notation.decimal, notation.thousands, escaped, notation.percent, notation.parentheses


def _escaped(text: str) -> str:
    return "".join(f"\\{c}" if c in "$.%" else c for c in text)


def _sources(encoder: Encoder | None) -> str:
    if encoder is None:
        return ""
    kinds = {column.kind for column in encoder.columns}
    functions = dict.fromkeys(f for kind in sorted(kinds) for f in _READERS[kind])
    functions |= dict.fromkeys((*_scalings(encoder), readers.only_usable, readers.read_csv))
    return "".join(f"\n\n{inspect.getsource(f)}" for f in functions)


def _main(encoder: Encoder | None) -> str:
    if encoder is None:
        return ""
    return """

if __name__ == "__main__":
    for name, values in predict(read_csv(sys.argv[1])).items():
        print(name, np.asarray(values).tolist(), sep=": ")
"""
