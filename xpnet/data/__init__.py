"""Tables and arrays: read, checked, split and encoded.

A file becomes arrays in four steps::

    table = load("flowers.csv", target="species")
    train, validation, test = split_rows(table.frame.height, validation=0.1, test=0.2, seed=0,
                                         stratify=strata(table.frame["species"]))
    encoder = Encoder.fit(table.frame, table.target, rows=train)
    X, y, rows = encoder.encode(table.frame, rows=train)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet import lazy

if TYPE_CHECKING:
    from xpnet.data.arrays import Checked, are_labels, check_arrays, check_labels
    from xpnet.data.builtin import (
        BUILTIN,
        digits,
        digits_arrays,
        sine,
        sine_arrays,
        spirals,
        spirals_arrays,
        two_gaussians,
        two_gaussians_arrays,
        xor,
        xor_arrays,
    )
    from xpnet.data.columns import Blocks, Categorical, Dates, Numeric
    from xpnet.data.decisions import Decision
    from xpnet.data.encoder import Encoded, Encoder
    from xpnet.data.export import to_csv, write_table
    from xpnet.data.formats import EXTENSIONS, FORMATS
    from xpnet.data.indices import UNNAMED
    from xpnet.data.loading import listed, load
    from xpnet.data.notations import MISSING, Notation, decimal_of, notation_of, unit_of
    from xpnet.data.splits import split_rows
    from xpnet.data.summary import ColumnSummary, Summary, summarize
    from xpnet.data.tables import Table, open_table, read_table
    from xpnet.data.tasks import explain_task, infer_task, infer_tasks, joint_strata, strata

__all__ = [
    "BUILTIN",
    "EXTENSIONS",
    "FORMATS",
    "MISSING",
    "UNNAMED",
    "Blocks",
    "Categorical",
    "Checked",
    "ColumnSummary",
    "Dates",
    "Decision",
    "Encoded",
    "Encoder",
    "Notation",
    "Numeric",
    "Summary",
    "Table",
    "are_labels",
    "check_arrays",
    "check_labels",
    "decimal_of",
    "digits",
    "digits_arrays",
    "explain_task",
    "infer_task",
    "infer_tasks",
    "joint_strata",
    "listed",
    "load",
    "notation_of",
    "open_table",
    "read_table",
    "sine",
    "sine_arrays",
    "spirals",
    "spirals_arrays",
    "split_rows",
    "strata",
    "summarize",
    "to_csv",
    "two_gaussians",
    "two_gaussians_arrays",
    "unit_of",
    "write_table",
    "xor",
    "xor_arrays",
]

_HOMES = {
    "BUILTIN": "xpnet.data.builtin",
    "Blocks": "xpnet.data.columns",
    "Categorical": "xpnet.data.columns",
    "Checked": "xpnet.data.arrays",
    "ColumnSummary": "xpnet.data.summary",
    "Dates": "xpnet.data.columns",
    "Decision": "xpnet.data.decisions",
    "EXTENSIONS": "xpnet.data.formats",
    "Encoded": "xpnet.data.encoder",
    "Encoder": "xpnet.data.encoder",
    "FORMATS": "xpnet.data.formats",
    "MISSING": "xpnet.data.notations",
    "Notation": "xpnet.data.notations",
    "Numeric": "xpnet.data.columns",
    "Summary": "xpnet.data.summary",
    "Table": "xpnet.data.tables",
    "UNNAMED": "xpnet.data.indices",
    "are_labels": "xpnet.data.arrays",
    "check_arrays": "xpnet.data.arrays",
    "check_labels": "xpnet.data.arrays",
    "decimal_of": "xpnet.data.notations",
    "digits": "xpnet.data.builtin",
    "digits_arrays": "xpnet.data.builtin",
    "explain_task": "xpnet.data.tasks",
    "infer_task": "xpnet.data.tasks",
    "infer_tasks": "xpnet.data.tasks",
    "joint_strata": "xpnet.data.tasks",
    "listed": "xpnet.data.loading",
    "load": "xpnet.data.loading",
    "notation_of": "xpnet.data.notations",
    "open_table": "xpnet.data.tables",
    "read_table": "xpnet.data.tables",
    "sine": "xpnet.data.builtin",
    "sine_arrays": "xpnet.data.builtin",
    "spirals": "xpnet.data.builtin",
    "spirals_arrays": "xpnet.data.builtin",
    "split_rows": "xpnet.data.splits",
    "strata": "xpnet.data.tasks",
    "summarize": "xpnet.data.summary",
    "to_csv": "xpnet.data.export",
    "two_gaussians": "xpnet.data.builtin",
    "two_gaussians_arrays": "xpnet.data.builtin",
    "unit_of": "xpnet.data.notations",
    "write_table": "xpnet.data.export",
    "xor": "xpnet.data.builtin",
    "xor_arrays": "xpnet.data.builtin",
}

__getattr__, __dir__ = lazy.attributes(__name__, _HOMES)
