"""Notations of numbers: what is read, what is text, and what stops because it has two readings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpnet.data import Notation, decimal_of, notation_of, unit_of
from xpnet.errors import ConfigError, DataError

pl = pytest.importorskip("polars", reason="tables need polars")

NAN = math.nan

# cells, the notation in words, the numbers
READ = {
    "plain": (["1", "-2.5", "1e3", ".5"], "plain numbers", [1, -2.5, 1000, 0.5]),
    "commas between thousands": (["1,234.5", "987"], "',' between thousands", [1234.5, 987]),
    "several groups": (["1,234,567", "1"], "',' between thousands", [1234567, 1]),
    "groups of India": (["12,34,567", "1,234.5"], "',' between thousands", [1234567, 1234.5]),
    "points between thousands": (["1.234,5", "987"], "',' as decimal mark and '.' between", [1234.5, 987]),
    "points alone": (["1.234.567", "1.234"], "'.' between thousands", [1234567, 1234]),
    "decimal commas": (["12,5", "1234,567"], "',' as decimal mark", [12.5, 1234.567]),
    "a decimal comma behind zero": (["0,123", "1,234"], "',' as decimal mark", [0.123, 1.234]),
    "blanks": (["1 234", "12"], "blanks between thousands", [1234, 12]),
    "blanks that do not break": (["1\u202f234,5", "-1\u00a0000", "2\u2009000"], "b", [1234.5, -1000, 2000]),
    "apostrophes": (["1'234.5", "2’000"], "between thousands", [1234.5, 2000]),
    "per cent": (["12 %", "-0.6%", "0", None], "'%'", [12, -0.6, 0, NAN]),
    "per cent with commas": (["12,5 %", "1 %"], "',' as decimal mark and '%'", [12.5, 1]),
    "dollars": (["$1,234.50", "-$2", "$-3", "4"], "',' between thousands and '$'", [1234.5, -2, -3, 4]),
    "euros": (["5 €", "€ 6,50", "EUR 7"], "',' as decimal mark", [5, 6.5, 7]),
    "francs": (["CHF 1’234.50", "Fr. 5"], "CHF", [1234.5, 5]),
    "codes behind": (["5 USD", "1,234.5 USD"], "USD", [5, 1234.5]),
    "accounting": (["(5)", "3", "$(1,234.50)", "($7)"], "negative ones in parentheses", [-5, 3, -1234.5, -7]),
    "minus behind": (["5-", "1.234,50- EUR", "3 €", "7,5 €-"], "minus sign behind", [-5, -1234.5, 3, -7.5]),
    "millions": (["1.1k", "2K", "-1.25M", "0", "$3k"], "'k' for thousands", [1100, 2000, -1.25e6, 0, 3000]),
    "minus of typesetters": (["\u22125", "3.25"], "plain numbers", [-5, 3.25]),
    "mostly numbers": (["1.5", "2.5", "2", "3", "oops"], "plain numbers", [1.5, 2.5, 2, 3, NAN]),
    "infinite": (["inf", "1,234.5"], "',' between thousands", [math.inf, 1234.5]),
}  # fmt: skip

TEXT = {
    "words": ["a", "b"],
    "nothing": [None, ""],
    "leading zeros": ["00501", "94103"],
    "units": ["5 kg", "7.5 kg"],
    "ranges": ["10-20", "20-30"],
    "dates": ["2020-01-01", "01.02.2020", "1/2/2020"],
    "times": ["12:30", "1:05"],
    "versions": ["1.2.3", "1.10.2"],
    "addresses": ["192.168.100.100", "10.0.0.1"],
    "addresses of one length": ["192.168.100.100", "192.168.100.101"],
    "telephone numbers": ["+49 301 200", "+49 301 201 304"],
    "grades": ["2-", "3", "3", "1-", "1", "2", "2", "1", "2", "3+"],
    "letters of some": ["5k", "500", "600", "7k"],
    "lengths": ["5Km", "7.5km"],
    "telephone": ["030 123 456", "030 123 457"],
    "two currencies at once": ["$5 €", "$6 €"],
    "long": ["1" + " " * 99_999 + "1"],
}

# cells, and what the message says
STOPS = {
    "point or thousands": (
        ["15.353", "2.335"], "'15.353' as 15.353 .decimal='.'. or as 15353 .decimal=',', thousands='.'",
    ),
    "beside whole numbers": (["9.569", "987"], "two ways: '9.569'.*say which: decimal='.' or decimal=','"),
    "comma or thousands": (["1,234", "987"], "'1,234' as 1234 .*thousands=','. or as 1.234 .decimal=','"),
    "both marks": (["1,234.5", "1.234,5"], "mixes two notations.*'1,234.5' can be read.*'1.234,5' as 1234.5"),
    "a comma among points": (["3.5", "2.5", "3,5"], "mixes two notations.*'3,5' as 3.5 .decimal=','"),
    "per cent or not": (["12 %", "0.5"], "per cent and without '%': '12 %' and '0.5'"),
    "two currencies": (["$5", "€5"], r"several currencies: '\$5' and '€5'"),
    "two kinds of minus": (["(5)", "-5"], r"parentheses and with a minus sign: '\(5\)' and '-5'"),
    "dollars in thousands?": (["$1,234", "$5"], "two ways"),
    "minus before and behind": (["-5", "6-"], "a minus sign before and behind them: '-5' and '6-'"),
    "thousands of thousands?": (["1,234k", "5k"], "'1,234k' as 1234k .*or as 1.234k"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_numbers_of_a_notation(case):
    cells, words, numbers = READ[case]
    series = pl.Series("c", cells)
    notation = notation_of(series)
    assert words in str(notation)
    np.testing.assert_array_equal(notation.read(series), numbers)
    assert Notation.from_json(notation.to_json()) == notation
    assert notation_of(series.cast(pl.Categorical)) == notation


@pytest.mark.parametrize("case", TEXT)
def test_what_is_no_number(case):
    assert notation_of(pl.Series("c", TEXT[case], dtype=pl.String)) is None


@pytest.mark.parametrize("case", STOPS)
def test_two_readings_stop(case):
    cells, message = STOPS[case]
    with pytest.raises(DataError, match=f"column 'c' .*{message}"):
        notation_of(pl.Series("c", cells))


DECLARED = {
    "a point": ({"decimal": "."}, ["15.353", "987"], [15.353, 987]),
    "a comma": ({"decimal": ","}, ["15.353", "987"], [15353, 987]),
    "commas for points": ({"decimal": "."}, ["9,569", "987"], [9569, 987]),
    "commas": ({"decimal": ","}, ["9,569", "987"], [9.569, 987]),
    "points between thousands": ({"thousands": "."}, ["15.353", "987"], [15353, 987]),
    "commas between thousands": ({"thousands": ","}, ["9,569", "31.7"], [9569, 31.7]),
    "nothing between thousands": ({"thousands": ""}, ["15.353"], [15.353]),
    "an underline": ({"thousands": "_"}, ["1_234", "5.5"], [1234, 5.5]),
    "blanks of any kind": ({"thousands": "\u00a0"}, ["1 234"], [1234]),
}  # fmt: skip


@pytest.mark.parametrize("case", DECLARED)
def test_declared_marks(case):
    marks, cells, numbers = DECLARED[case]
    series = pl.Series("c", cells)
    np.testing.assert_array_equal(notation_of(series, **marks).read(series), numbers)


def test_a_declaration_that_does_not_fit():
    with pytest.raises(DataError, match=r"'31.7', which is no number with decimal=',': it can"):
        notation_of(pl.Series("c", ["31.7"]), decimal=",")
    for marks in (
        {"decimal": ";"},
        {"thousands": "ab"},
        {"thousands": "1"},
        {"decimal": ".", "thousands": "."},
    ):
        with pytest.raises(ConfigError, match="expected"):
            notation_of(pl.Series(["1"]), **marks)


def test_a_notation_reads_other_columns_strictly():
    assert np.isnan(Notation().read(pl.Series(["1,5", "12 %", "$5", "(5)", "x", ""]))).all()
    assert np.isnan(Notation(",", ".").read(pl.Series(["31.7", "1,234.5", "1.23"]))).all()
    assert np.isnan(Notation(percent=True).read(pl.Series(["12"]))).all()
    assert Notation(currency="€").read(pl.Series(["5 EUR", "6"])).tolist() == [5, 6]
    assert Notation(thousands=",").read(pl.Series([1, None])).tolist()[0] == 1
    with pytest.raises(DataError, match=r"0\.12 may mean"):
        Notation(percent=True).read(pl.Series([0.12]))


DAMAGED = [
    {"decimal": ";"}, {"decimal": 1}, {"thousands": "."}, {"percent": 1}, {"parentheses": 0}, {"currency": 2},
    {"behind": 1},
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_descriptions(damage):
    with pytest.raises((KeyError, ValueError)):
        Notation.from_json(Notation().to_json() | damage)
    with pytest.raises(KeyError):
        Notation.from_json({})


MARKS = {
    "decimal numbers": ({"a": [0.5, 1.0]}, "."),
    "whole decimal numbers": ({"a": [1.0, 2.0]}, None),
    "whole numbers": ({"a": [1], "b": ["15.353"]}, None),
    "commas": ({"a": ["12,5"], "b": ["1.234"]}, ","),
    "both": ({"a": ["12,5"], "b": [0.5]}, None),
    "both in one": ({"a": ["12,5", "3.5"]}, None),
    "groups": ({"a": ["1,234,567"]}, "."),
    "addresses": ({"a": ["192.168.100.100"]}, None),
    "dates": ({"a": ["01.02.2020"], "b": ["x,y"]}, None),
}


@pytest.mark.parametrize("case", MARKS)
def test_decimal_mark_of_a_table(case):
    columns, mark = MARKS[case]
    assert decimal_of(pl.DataFrame(columns)) == mark


def test_units():
    assert unit_of(pl.Series(["5 kg", "1,234.5 kg", "7 lb", "3kg", None])) == ("kg", "5 kg")
    assert unit_of(pl.Series(["20°C", "21°C"])) == ("°C", "20°C")
    assert unit_of(pl.Series(["5k", "7k", "8k", "9k", "500"])) == ("k", "5k")
    for cells in (["12 %"], ["$5"], ["a"], ["10-20"], ["12:30"], ["2020-01-01"]):
        assert unit_of(pl.Series(cells)) is None


@given(
    st.lists(st.floats(-1e9, 1e9).map(lambda x: round(x, 2)), min_size=1, max_size=6),
    st.sampled_from([".", ","]),
    st.sampled_from(["", ",", ".", " ", "'"]),
    st.sampled_from(["{}", "$ {}", "{} %", "{} EUR"]),
)
def test_what_is_written_in_a_notation_is_read(numbers, decimal, thousands, dress):
    if decimal == thousands:
        return
    texts = [
        f"{number:,.2f}".replace(",", "t").replace(".", decimal).replace("t", thousands) for number in numbers
    ]
    series = pl.Series("c", [dress.format(text) for text in texts])
    np.testing.assert_array_equal(notation_of(series).read(series), numbers)
