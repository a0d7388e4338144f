"""What a target asks for, by its cells."""

from __future__ import annotations

import datetime
import decimal
import math

import pytest

from xpnet.data import infer_task

pl = pytest.importorskip("polars", reason="tables need polars")

TASKS = {
    "text": (["a", "b"] * 3, "classification"),
    "text of a few numbers": (["1", "2"] * 3, "classification"),
    "text of many numbers": ([str(i) for i in range(21)], "regression"),
    "text of decimals": (["0.5", "1.5", "2.5", "1.5", "?", "0.5"] * 3, "regression"),
    "booleans": ([True, False], "classification"),
    "two whole numbers": ([5, 9], "classification"),
    "three in fifteen": ([0, 1, 2] * 5, "classification"),
    "three in fourteen": (([0, 1, 2] * 5)[:14], "regression"),
    "twenty in a hundred": (list(range(20)) * 5, "classification"),
    "twenty-one in many": (list(range(21)) * 50, "regression"),
    "whole floats with holes": ([0.0, 1.0, math.nan, None] * 5, "classification"),
    "fractions": ([0.5, 1.0] * 50, "regression"),
    "decimals": ([decimal.Decimal("0.5"), decimal.Decimal("1")] * 5, "regression"),
    "whole decimals": ([decimal.Decimal("0"), decimal.Decimal("1")] * 5, "classification"),
    "durations": ([datetime.timedelta(hours=1), datetime.timedelta(hours=2)] * 9, "regression"),
    "beyond 2**53": ([2**63 + 1, 2**63 + 2] * 5, "classification"),
}


@pytest.mark.parametrize("case", TASKS)
def test_inferred_tasks(case):
    values, task = TASKS[case]
    assert infer_task(pl.Series("y", values)) == task
