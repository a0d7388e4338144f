"""Checks of settings: what passes comes back as a plain number, the rest is refused in the same words."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from xpnet import checks
from xpnet.errors import ConfigError


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (checks.positive, 1, 1.0),
        (checks.positive, np.float32(0.5), 0.5),
        (checks.positive, Fraction(1, 4), 0.25),
        (checks.not_negative, 0, 0.0),
        (checks.not_negative, np.int64(3), 3.0),
        (checks.fraction, 0, 0.0),
        (checks.fraction, 0.999, 0.999),
        (checks.count, 1, 1),
        (checks.count, np.uint8(7), 7),
        (checks.count, 10**30, 10**30),
        (checks.flag, False, False),
    ],
)
def test_what_passes(check, value, result):
    found = check("setting", value)
    assert found == result
    assert type(found) is type(result)


@pytest.mark.parametrize(
    ("check", "values", "expected"),
    [
        (
            checks.positive,
            [0, -1, np.nan, np.inf, 10**400, True, "1", None, [1], 1j],
            "a finite number above 0",
        ),
        (checks.not_negative, [-1e-300, np.nan, -np.inf, False, "0", None], "a finite number of at least 0"),
        (checks.fraction, [1, -0.1, np.nan, True, "0.5", None], "a number of at least 0 and below 1"),
        (checks.count, [0, -1, 1.0, np.float64(2), True, "1", None], "a whole number of at least 1"),
        (checks.flag, [0, 1, "yes", None], "True or False"),
    ],
)
def test_what_is_refused(check, values, expected):
    for value in values:
        with pytest.raises(ConfigError) as caught:
            check("setting", value, "choose another")
        assert str(caught.value) == f"setting: expected {expected}, found {value!r}; choose another"
