"""Columns as features: scaled numbers, categories one-hot or as codes, dates as parts of the calendar.

A column is chosen by its cells (`choose`), read, fitted on the training rows, and from then on encodes the
cells of any table. A cell holds nothing that can be encoded when it is missing, NaN, or text in a column of
numbers or dates; the policy ``missing`` says what then happens, see `xpnet.data.Encoder`.
"""

from __future__ import annotations

from xpnet.data.columns.blocks import Blocks, blocks_of
from xpnet.data.columns.categorical import UNSEEN, Categorical
from xpnet.data.columns.choice import Column, Reading, choose
from xpnet.data.columns.dates import Dates
from xpnet.data.columns.numeric import Numeric
from xpnet.data.columns.scaling import ONE_HOTS, SCALINGS, STANDARD, Encoding
from xpnet.data.columns.stored import column_from_json

__all__ = [
    "ONE_HOTS",
    "SCALINGS",
    "STANDARD",
    "UNSEEN",
    "Blocks",
    "Categorical",
    "Column",
    "Dates",
    "Encoding",
    "Numeric",
    "Reading",
    "blocks_of",
    "choose",
    "column_from_json",
]
