"""Columns as features: numbers standardized, categories one-hot, dates and times as parts of the calendar.

A column is chosen by its cells (`choose`), read, fitted on the training rows, and from then on encodes the
cells of any table. A cell holds nothing that can be encoded when it is missing, NaN, or text in a column of
numbers or dates; the policy ``missing`` says what then happens, see `xpnet.data.Encoder`.
"""

from __future__ import annotations

from xpnet.data.columns.categorical import UNSEEN, Categorical
from xpnet.data.columns.choice import Column, Reading, choose
from xpnet.data.columns.dates import Dates
from xpnet.data.columns.numeric import Numeric
from xpnet.data.columns.stored import column_from_json

__all__ = ["UNSEEN", "Categorical", "Column", "Dates", "Numeric", "Reading", "choose", "column_from_json"]
