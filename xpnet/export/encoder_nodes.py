"""Encoders of tables in nodes of ONNX: from one input for each column to the features of a network.

All columns of numbers are computed together, and likewise the others, so that a table of many columns has few
nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import NoneType
from typing import Any

import numpy as np

from xpnet.data import Encoder
from xpnet.data.columns import Categorical, Column, Dates, Numeric
from xpnet.data.columns.scaling import Quantile, Robust
from xpnet.data.notations import MISSING
from xpnet.errors import ConfigError
from xpnet.export.date_nodes import in_iso, parts_of_dates
from xpnet.export.graph import Graph
from xpnet.export.scaling_nodes import add_codes, add_quantile, add_robust

__all__ = ["add_encoder", "input_type"]

_EXACT = 2**53  # whole numbers beyond it are text
_PERIODS = {"month": 12, "weekday": 7, "hour": 24}


def input_type(column: Column, missing: str) -> str:
    """Return the dtype of a column's input: "str", "float64", or "bool" where no cell can be missing.

    Args:
        column: of the table.
        missing: the encoder's policy.
    """
    if isinstance(column, Dates):
        return "str"
    if isinstance(column, Numeric):
        boolean, gone = column.boolean, column.indicator
    elif column.cells == "str" or any(abs(x) > _EXACT for x in column.categories):
        return "str"
    else:
        boolean, gone = column.cells == "bool", column.own_missing or column.form != "one-hot"
    return "bool" if boolean and not gone and missing in ("impute", "error") else "float64"


def add_encoder(graph: Graph, encoder: Encoder) -> tuple[str, str | None]:
    """Add inputs and nodes of an encoder.

    Returns:
        The features, (rows, features) float64, and which rows cannot be used, (rows, 1) bool; None: no row.

    Raises:
        ConfigError: a column has no name.
    """
    names = [column.name for column in encoder.columns]
    if "" in names:
        raise ConfigError("export: expected a name for each column, found one without; rename it, or drop it")
    for column in encoder.columns:
        graph.input(column.name, input_type(column, encoder.missing), ["rows", 1])
    return _Encoder(graph, encoder).features()


def _by_form(columns: list[Categorical]) -> tuple[list[int], list[int], list[int]]:
    """Return the places of columns that are one-hot, that are one signed feature, and that are codes."""
    coded = [i for i, column in enumerate(columns) if column.form == "codes"]
    signed = [
        i for i, column in enumerate(columns) if column.form == "signed" and len(column.categories) <= 2
    ]
    return [i for i in range(len(columns)) if i not in (*coded, *signed)], signed, coded


class _Encoder:
    """Blocks of features, and where each of them belongs."""

    def __init__(self, graph: Graph, encoder: Encoder):
        self._graph, self._encoder = graph, encoder
        self._start = dict[str, int]()
        self._scales = dict[int, Robust]()  # of one-hot features, by their places
        start = 0
        for column in encoder.columns:
            self._start[column.name] = start
            if isinstance(column, Categorical):
                self._scales |= dict(enumerate(column.scales, start))
            start += len(column.feature_names)
        self._blocks: list[tuple[str, list[int]]] = []  # values, and the places of their columns
        self._bad: list[str] = []  # values (rows, n) that say which cells cannot be used
        self._strict = encoder.missing in ("error", "drop")

    def _type(self, column: Column) -> str:
        return input_type(column, self._encoder.missing)

    def features(self) -> tuple[str, str | None]:
        columns = self._encoder.columns
        numbers = [(self._double(x), x, self._start[x.name]) for x in columns if isinstance(x, Numeric)]
        infinite = [name for name, _, _ in numbers] if self._encoder.missing != "impute" else []
        if dates := [x for x in columns if isinstance(x, Dates)]:
            numbers += self._dates(dates)
        for kind in (NoneType, Robust, Quantile):
            if alike := [x for x in numbers if isinstance(x[1].scaling, kind)]:
                self._numbers(alike)
        if infinite:
            self._bad.append(str(self._graph.add("IsInf", self._joined(infinite))))
        if self._strict and (plain := [x for x in columns if isinstance(x, Numeric)]):
            self._bad.append(str(self._graph.add("IsNaN", self._joined([self._double(x) for x in plain]))))
        categorical = [x for x in columns if isinstance(x, Categorical)]
        if texts := [x for x in categorical if self._type(x) == "str"]:
            self._texts(texts)
        if others := [x for x in categorical if self._type(x) != "str"]:
            self._categories(others)
        return self._in_order(), self._unusable()

    def _double(self, column: Column) -> str:
        if self._type(column) == "float64":
            return column.name
        return str(self._graph.add("Cast", column.name, to=11))

    def _joined(self, names: list[str]) -> str:
        return names[0] if len(names) == 1 else str(self._graph.add("Concat", *names, axis=1))

    def _picked(self, joined: str, places: list[int], count: int) -> str:
        """Return some of ``count`` columns."""
        if len(places) == count:
            return joined
        return str(self._graph.add("Gather", joined, self._graph.constant(places, "int64"), axis=1))

    def _as_features(self, mask: str, places: list[int]) -> None:
        self._features(str(self._graph.add("Cast", mask, to=11)), places)

    def _features(self, values: str, places: list[int]) -> None:
        """Take values (rows, places) as features, scaled where the column says so."""
        scaled = [i for i, place in enumerate(places) if place in self._scales]
        if scaled:
            scales = [self._scales[places[i]] for i in scaled]
            z = add_robust(self._graph, self._picked(values, scaled, len(places)), scales)
            self._blocks.append((z, [places[i] for i in scaled]))
        others = [i for i, place in enumerate(places) if place not in self._scales]
        if others:
            self._blocks.append((self._picked(values, others, len(places)), [places[i] for i in others]))

    def _numbers(self, columns: list[tuple[str, Numeric, int]]) -> None:
        """Scale columns (rows, 1) alike; their features have these places."""
        graph, constant = self._graph, self._graph.constant
        x, fitted = self._joined([name for name, _, _ in columns]), [column for _, column, _ in columns]
        gone = graph.add("IsNaN", x)
        if any(column.limits is not None for column in fitted):
            everything = (-math.inf, math.inf)
            low, high = (constant([(c.limits or everything)[i] for c in fitted], "float64") for i in range(2))
            first, last = (constant([(c.span or everything)[i] for c in fitted], "float64") for i in range(2))
            above = graph.add("Where", graph.add("Greater", x, high), last, x)
            x = graph.add("Where", graph.add("Less", x, low), first, above)
        impute = self._encoder.missing == "impute"
        fill = [c.mean if c.fill is None or not impute else c.fill for c in fitted]
        filled = [float(c.scaled(np.asarray(value))) for c, value in zip(fitted, fill, strict=True)]
        z = graph.add("Where", gone, constant(filled), self._scaled(x, fitted))
        self._blocks.append((str(z), [place for _, _, place in columns]))
        told = [i for i, column in enumerate(fitted) if column.indicator]
        if told:
            if len(told) < len(fitted):
                gone = graph.add("Gather", gone, constant(told, "int64"), axis=1)
            self._as_features(gone, [columns[i][2] + 1 for i in told])

    def _scaled(self, x: str, columns: list[Numeric]) -> str:
        """Return z of cells (rows, columns); all columns have scalings of one kind."""
        robust = [c.scaling for c in columns if isinstance(c.scaling, Robust)]
        quantile = [c.scaling for c in columns if isinstance(c.scaling, Quantile)]
        if robust or quantile:
            return add_robust(self._graph, x, robust) if robust else add_quantile(self._graph, x, quantile)
        mean, std = np.asarray([(column.mean, column.std) for column in columns]).T
        constant = self._graph.constant
        return str(self._graph.add("Div", self._graph.add("Sub", x, constant(mean)), constant(std)))

    def _dates(self, columns: list[Dates]) -> list[tuple[str, Numeric, int]]:
        """Add the cycles of dates, and return years and times as columns to be standardized."""
        graph, constant = self._graph, self._graph.constant
        cells = [in_iso(graph, column.name, column.form) for column in columns]
        parts, gone = parts_of_dates(graph, self._joined(cells))
        if self._strict:
            self._bad.append(gone)
        if told := [i for i, column in enumerate(columns) if column.indicator]:
            places = [self._start[columns[i].name] + len(columns[i].feature_names) - 1 for i in told]
            self._as_features(graph.add("Gather", gone, constant(told, "int64"), axis=1), places)
        nan, found = constant(math.nan), []
        first = {column.name: self._start[column.name] + (column.year is not None) for column in columns}
        for part in ("year", "elapsed"):
            values = graph.add("Where", gone, nan, parts[part])
            for i, column in enumerate(columns):
                fitted = getattr(column, part)
                if fitted is not None:
                    place = self._start[column.name]
                    if part == "elapsed":
                        place = first[column.name] + 2 * len(column.cycles)
                    value = graph.add("Gather", values, constant([i], "int64"), axis=1)
                    found.append((str(value), fitted, place))
        for cycle, period in _PERIODS.items():
            told = [i for i, column in enumerate(columns) if cycle in column.cycles]
            if told:
                turn = graph.add("Mul", parts[cycle], constant(2 * math.pi))
                angle = graph.add("Div", turn, constant(float(period)))
                for wave, op in enumerate(("Sin", "Cos")):
                    value = graph.add("Where", gone, constant(0.0), graph.add(op, angle))
                    value = graph.add("Gather", value, constant(told, "int64"), axis=1)
                    starts = [first[columns[i].name] + 2 * columns[i].cycles.index(cycle) for i in told]
                    self._blocks.append((value, [start + wave for start in starts]))
        return found

    def _texts(self, columns: list[Categorical]) -> None:
        """Number categories of text, and make features of the numbers."""
        graph, codes = self._graph, []
        for column in columns:
            known = {str(category): i for i, category in enumerate(column.categories)}
            gone = len(known) if column.own_missing else -2
            codes_of = {**dict.fromkeys(MISSING, gone), **known}
            codes.append(
                graph.add(
                    "LabelEncoder", column.name, domain="ai.onnx.ml", keys_strings=list(codes_of),
                    values_int64s=list(codes_of.values()), default_int64=-1,
                )
            )  # fmt: skip
        joined = self._joined(codes)
        if self._strict:
            self._bad.append(str(graph.add("Equal", joined, graph.constant(-2, "int64"))))
        hot, signed, coded = _by_form(columns)
        if hot:
            picked, own = self._picked(joined, hot, len(columns)), [columns[i] for i in hot]
            sizes = [len(column.feature_names) for column in own]
            self._compared(picked, own, sizes, [float(i) for size in sizes for i in range(size)], "int64")
        if signed:
            own = [columns[i] for i in signed]
            pairs = [(0, len(column.categories) - 1) for column in own]
            self._signed(self._picked(joined, signed, len(columns)), own, pairs, "int64")
        if coded:
            code = graph.add("Add", self._picked(joined, coded, len(columns)), graph.constant(1, "int64"))
            places = [self._start[columns[i].name] for i in coded]
            self._as_features(graph.add("Max", code, graph.constant(0, "int64")), places)

    def _categories(self, columns: list[Categorical]) -> None:
        """Make features of numbers and truth values that are categories."""
        graph = self._graph
        joined = self._joined([self._double(column) for column in columns])
        self._bad.append(str(graph.add("IsInf", joined)))
        gone = graph.add("IsNaN", joined)
        if self._strict:
            self._bad.append(str(gone))
        hot, signed, coded = _by_form(columns)
        if hot:
            own = [columns[i] for i in hot]
            values = [float(x) for column in own for x in column.categories]
            sizes = [len(column.categories) for column in own]
            self._compared(self._picked(joined, hot, len(columns)), own, sizes, values, "float64")
        if told := [i for i, column in enumerate(columns) if column.own_missing]:
            mask = graph.add("Gather", gone, graph.constant(told, "int64"), axis=1)
            places = [self._start[columns[i].name] + len(columns[i].categories) for i in told]
            self._as_features(mask, places)
        if signed:
            own = [columns[i] for i in signed]
            pairs = [(float(column.categories[0]), float(column.categories[-1])) for column in own]
            self._signed(self._picked(joined, signed, len(columns)), own, pairs, "float64")
        if coded:
            known = [[float(x) for x in columns[i].categories] for i in coded]
            codes = add_codes(graph, self._picked(joined, coded, len(columns)), known)
            self._features(codes, [self._start[columns[i].name] for i in coded])

    def _signed(
        self, joined: str, columns: list[Categorical], pairs: Sequence[tuple[float, float]], dtype: str
    ) -> None:
        """Make one feature of each column: 1 for the first of a pair, -1 for the second, else 0.

        Of a pair of the same the feature is 1 for it, else -1.
        """
        graph, constant = self._graph, self._graph.constant
        first, second = np.asarray(pairs).T
        one, two = (
            graph.add("Cast", graph.add("Equal", joined, constant(x, dtype)), to=11) for x in (first, second)
        )
        alone = (first == second).astype(np.float64)
        # 2a - 1 of one, a - b of two
        value = graph.add("Mul", one, constant(1.0 + alone))
        value = graph.add("Sub", value, graph.add("Mul", two, constant(1.0 - alone)))
        self._features(
            str(graph.add("Sub", value, constant(alone))), [self._start[column.name] for column in columns]
        )

    def _compared(
        self, joined: str, columns: list[Categorical], sizes: list[int], values: list[float], dtype: str
    ) -> None:
        graph = self._graph
        of = [i for i, size in enumerate(sizes) for _ in range(size)]
        spread = graph.add("Gather", joined, graph.constant(of, "int64"), axis=1)
        places = [
            self._start[c.name] + i for c, size in zip(columns, sizes, strict=True) for i in range(size)
        ]
        self._as_features(graph.add("Equal", spread, graph.constant(values, dtype)), places)

    def _in_order(self) -> str:
        joined = self._joined([name for name, _ in self._blocks])
        places = [place for _, block in self._blocks for place in block]
        assert sorted(places) == list(range(self._encoder.n_features))
        order: Any = np.argsort(places)
        if places == list(range(len(places))):
            return joined
        return str(self._graph.add("Gather", joined, self._graph.constant(order, "int64"), axis=1))

    def _unusable(self) -> str | None:
        if not self._bad:
            return None
        graph = self._graph
        whole = graph.add("Cast", self._joined(self._bad), to=6)
        return str(graph.add("Cast", graph.add("ReduceMax", whole, self._graph.constant([1], "int64")), to=9))
