"""Dates and times: the forms they are written in, what is ambiguous, and the features made of them."""

from __future__ import annotations

import datetime
import json
import re

import numpy as np
import pytest

from xpnet.data import Encoder
from xpnet.data.columns.date_text import form_of, read_dates
from xpnet.errors import DataError

pl = pytest.importorskip("polars", reason="tables need polars")

DAY = datetime.datetime(2021, 3, 25)
N = 40
Y = (np.arange(N) * 0.37) % 1

# cells, of which the first is 25 March 2021; the form; the time of day
FORMS = {
    "ISO": ("2021-03-25", "year-month-day", 0),
    "slashes, the year first": ("2021/3/25", "year-month-day", 0),
    "points, the year first": ("2021.03.25", "year-month-day", 0),
    "ISO with a time": ("2021-03-25T14:05:06", "year-month-day", 14 * 3600 + 306),
    "a blank and a fraction": ("2021-03-25 14:05:06.25", "year-month-day", 14 * 3600 + 306.25),
    "UTC": ("2021-03-25T14:05Z", "year-month-day", 14 * 3600 + 300),
    "a zone": ("2021-03-25T14:05:00+02:00", "year-month-day", 12 * 3600 + 300),
    "a zone behind": ("2021-03-25T14:05:00-0130", "year-month-day", 15 * 3600 + 35 * 60),
    "points": ("25.3.2021", "day.month.year", 0),
    "points and a time": ("25.03.2021, 14:05", "day.month.year", 14 * 3600 + 300),
    "the day first": ("25/03/2021", "day/month/year", 0),
    "the month first": ("3/25/2021", "month/day/year", 0),
    "the month first, points": ("03.25.2021", "month/day/year", 0),
    "afternoon": ("3/25/2021 2:05 PM", "month/day/year", 14 * 3600 + 300),
    "midnight": ("3/25/2021 12:05 a.m.", "month/day/year", 300),
    "two digits of the year": ("3/25/21", "month/day/year", 0),
    "names of months": ("25 Mar 2021", "day Month year", 0),
    "names with hyphens": ("25-mar-21", "day Month year", 0),
    "an ordinal": ("25th March 2021", "day Month year", 0),
    "American": ("March 25, 2021", "Month day year", 0),
    "American with a weekday": ("Thu, Mar 25, 2021 14:05", "Month day year", 14 * 3600 + 300),
}


@pytest.mark.parametrize("case", FORMS)
def test_forms_of_dates(case):
    cell, form, seconds = FORMS[case]
    series = pl.Series("when", [f" {cell} ", None, cell])
    found = form_of(series)
    assert found.form == form
    expected = np.datetime64(DAY + datetime.timedelta(seconds=seconds), "us")
    assert read_dates(series, form).tolist() == [expected.item(), None, expected.item()]
    assert found.zones == (case in ("UTC", "a zone", "a zone behind"))


NO_DATES = {
    "words": ["red", "blue"],
    "no such day": ["2021-02-30", "2021-13-01"],
    "no such time": ["2021-02-03 25:00", "2021-02-03 10:61"],
    "seasons": ["2010-11", "2011-12", "1999-00"],
    "numbers": ["20210304", "1.5"],
    "durations": ["31:45", "90:10"],
    "half of them": ["2021-02-03", "soon", "2021-02-04", "later"],
    "nothing": [None, None],
    "an address": ["192.168.0.1", "10.0.0.1"],
}


@pytest.mark.parametrize("case", NO_DATES)
def test_what_is_no_date(case):
    assert form_of(pl.Series("when", NO_DATES[case], dtype=pl.String)) is None


def test_months_alone():
    assert form_of(pl.Series(["2021-03", "2021-12"])).form == "year-month"
    assert form_of(pl.Series(["Mar 2021", "December 2021"])).form == "Month year"
    assert read_dates(pl.Series(["Mar 2021"]), "Month year").tolist() == [datetime.datetime(2021, 3, 1)]


AMBIGUOUS = {
    "no day above 12": (
        ["3/4/2021", "5/4/2021"],
        "'3/4/2021' as 3 April 2021 (dayfirst=True) or 4 March 2021 (dayfirst=False), and no cell has",
    ),
    "hyphens": (["03-04-2021", "05-04-2021"], "can be read in two ways"),
    "both orders": (
        ["25/3/2021", "3/25/2021"],
        "two orders: '25/3/2021' has its day first, '3/25/2021' its month",
    ),
    "years first or last": (["21-03-15", "22-03-16"], "the year may be the first or the last part"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_dates_stop(case):
    cells, message = AMBIGUOUS[case]
    with pytest.raises(DataError, match=f"column 'when' .*{re.escape(message)}"):
        form_of(pl.Series("when", cells))


def test_a_declaration_settles_the_order():
    cells = pl.Series("when", ["3/4/2021", "5/4/2021"])
    assert form_of(cells, dayfirst=True).form == "day/month/year"
    assert form_of(cells, dayfirst=False).form == "month/day/year"
    assert form_of(pl.Series(["3/3/2021", "4/4/2021"])).form == "day/month/year"  # it makes no difference
    assert form_of(pl.Series(["3.4.2021"]), dayfirst=False).form == "month/day/year"
    with pytest.raises(DataError, match="'25/3/2021', which cannot be read with dayfirst=False"):
        form_of(pl.Series("when", ["25/3/2021"]), dayfirst=False)


# ---- features


def fitted(when, **arguments):
    frame = pl.DataFrame({"when": when, "y": Y})
    encoder = Encoder.fit(frame, "y", **arguments)
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False)))
    assert again == encoder
    X = encoder.encode(frame).X
    np.testing.assert_array_equal(again.encode(frame).X, X)
    return encoder, dict(zip(encoder.feature_names, X.T, strict=True))


def test_features_of_moments():
    moments = [
        datetime.datetime(2019, 11, 3, 6) + datetime.timedelta(days=20 * i, hours=5 * i) for i in range(N)
    ]
    texts = [moment.isoformat() for moment in moments]
    for when in (moments, texts):
        encoder, X = fitted(when)
        assert tuple(X) == (
            "when year", "when month (sin)", "when month (cos)", "when weekday (sin)", "when weekday (cos)",
            "when hour (sin)", "when hour (cos)", "when elapsed",
        )  # fmt: skip
        years = np.asarray([moment.year for moment in moments], dtype=float)
        np.testing.assert_allclose(X["when year"], (years - years.mean()) / years.std())
        days = np.asarray([moment.timestamp() for moment in moments])
        np.testing.assert_allclose(X["when elapsed"], (days - days.mean()) / days.std(), atol=1e-9)
        for part, period, numbers in (
            ("month", 12, [moment.month - 1 for moment in moments]),
            ("weekday", 7, [moment.weekday() for moment in moments]),
            ("hour", 24, [moment.hour for moment in moments]),
        ):
            angle = 2 * np.pi * np.asarray(numbers) / period
            np.testing.assert_allclose(X[f"when {part} (sin)"], np.sin(angle), atol=1e-12)
            np.testing.assert_allclose(X[f"when {part} (cos)"], np.cos(angle), atol=1e-12)
        assert encoder.text_columns == ("when",)
    text, _ = fitted(texts)
    frame = pl.DataFrame({"when": moments})
    np.testing.assert_array_equal(text.encode(frame).X, text.encode(pl.DataFrame({"when": texts})).X)


def test_what_does_not_differ_is_no_feature():
    days = [datetime.date(2021, 3, 1 + i % 28) for i in range(N)]
    assert set(fitted(days)[1]) == {"when weekday (sin)", "when weekday (cos)", "when elapsed"}
    times = [datetime.time(i % 24, 30) for i in range(N)]
    assert set(fitted(times)[1]) == {"when hour (sin)", "when hour (cos)", "when elapsed"}
    assert set(fitted([f"{i % 24}:30" for i in range(N)])[1]) == set(fitted(times)[1])
    months = [f"2021-{1 + i % 12:02d}" for i in range(N)]
    assert set(fitted(months)[1]) == {"when month (sin)", "when month (cos)", "when elapsed"}
    constant = pl.DataFrame({"when": ["2021-03-04"] * N, "a": Y * 2, "y": Y})
    assert Encoder.fit(constant, "y").feature_names == ("a",)


def test_zones_are_converted_and_said():
    begin = datetime.datetime(2021, 6, 1, 1)
    berlin = pl.datetime_range(
        begin, begin + datetime.timedelta(hours=N - 1), "1h", time_zone="Europe/Berlin", eager=True
    )
    texts = [f"2021-06-0{1 + i // 24}T{i % 24:02d}:00:00+02:00" for i in range(1, N + 1)]
    one, X = fitted(berlin)
    other, Z = fitted(texts)
    np.testing.assert_array_equal(list(X.values()), list(Z.values()))
    assert "converted to UTC: its times are those of Europe/Berlin" in str(one.decisions[0])
    assert any("converted to UTC" in str(decision) for decision in other.decisions)


def test_missing_and_absurd_dates():
    days = [f"2021-03-{1 + i % 28:02d}" for i in range(N - 3)]
    encoder, X = fitted([*days, "9999-12-31", None, "unknown"])
    assert X["when is missing"].tolist() == [0.0] * (N - 2) + [1.0, 1.0]
    assert X["when elapsed"][-3] == max(X["when elapsed"])
    told = "\n".join(map(str, encoder.decisions))
    assert "row 38 '9999-12-31'" in told
    assert "1 of 39 cells: row 40 'unknown'" in told
    assert "2 of 40 training rows" in told
    with pytest.raises(DataError, match="row 39, column 'when' is missing in a column of dates"):
        fitted([*days, "2021-03-01", None, "unknown"], missing="error")
    assert (
        fitted([*days, "2021-03-01", None, "unknown"], missing="drop")[0].feature_names[-1] == "when elapsed"
    )
    new = encoder.encode(pl.DataFrame({"when": ["1021-03-04", None]}))
    assert len(new.rows) == 2
    assert "row 1 '1021-03-04'" in str(new.decisions[0])
    with pytest.raises(DataError, match="column 'when' holds Int64 values; expected dates or times"):
        encoder.encode(pl.DataFrame({"when": [1, 2]}))
    with pytest.raises(DataError, match="2 of its 2 cells are no dates of the form year-month-day"):
        encoder.encode(pl.DataFrame({"when": ["3 March", "4 March"]}))


def test_dates_as_categories():
    frame = pl.DataFrame({"when": [datetime.date(2021, 3, 1 + i % 3) for i in range(N)], "y": Y})
    encoder = Encoder.fit(frame, "y", categorical=["when"])
    assert encoder.feature_names == ("when=2021-03-01", "when=2021-03-02", "when=2021-03-03")
    assert encoder.encode(frame).X[1].tolist() == [0.0, 1.0, 0.0]
