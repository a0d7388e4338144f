"""A computation graph as text: values in a few words, the table, Graphviz's language, Mermaid."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tests.support import draw, widest
from xpnet.autodiff import functions, graph
from xpnet.autodiff.graphs.text import describe
from xpnet.backends import Backend, array_namespace


def _named(x: Any) -> Any:
    return array_namespace(x['a "b"']).sum(x['a "b"'] * 2.0)


def test_dot() -> None:
    made = graph(_named, {'a "b"': draw(0, (3, 4))})
    assert "cotangent" not in made.to_dot()
    made.backward()
    text = made.to_dot()
    assert text.startswith("digraph {")
    assert r"""n0 [label="x['a \"b\"']\nfloat64 (3, 4)\n""" in text
    assert "cotangent all 2" in text
    edges = re.findall(r"n(\d+) -> n(\d+);", text)
    assert [(int(i), int(j)) for i, j in edges] == [(i, n.number) for n in made.nodes for i in n.parents]
    for line in text.splitlines():
        assert len(re.findall(r'(?<!\\)"', line)) % 2 == 0


def test_mermaid() -> None:
    made = graph(_named, {'a "b"': draw(0, (3,))})
    made.backward()
    text = made.to_mermaid()
    assert text.startswith("flowchart LR\n")
    assert "n0[\"x['a #34;b#34;']<br/>float64 (3,)<br/>" in text
    assert "<br/>cotangent [2, 2, 2]" in text
    assert ":::result" in text
    assert "n0 --> n2" in text
    assert all(line.count('"') in (0, 2) for line in text.splitlines())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2, "2"),
        (-0.0, "0"),
        (1 / 3, "0.3333"),
        (np.asarray([[1.0, -2.5], [np.inf, np.nan]]), "[[1, -2.5], [inf, nan]]"),
        (np.zeros((0, 3)), "[]"),
        (np.full((3, 4), 0.5), "all 0.5"),
        (np.full(7, np.nan), "nan … nan, mean nan"),
        (np.arange(12) > 3, "8 of 12 true"),
        (np.asarray([True, False]), "[True, False]"),
        (np.arange(12), "0 … 11, mean 5.5"),
        (np.asarray([1 + 2j]), "[1+2j]"),
        (np.full(10, 3 + 4j), "|·| 5 … 5"),
    ],
)
def test_values_in_a_few_words(value: Any, text: str) -> None:
    assert describe(value) == text


def test_values_of_every_backend_can_be_shown(backend: Backend) -> None:
    made = graph(lambda x: functions.logsumexp(x)[0], backend.asarray(draw(0, (3, 4)), dtype=widest(backend)))
    made.backward()
    table = repr(made)
    assert len(table.splitlines()) == 1 + len(made.nodes)
    assert "logsumexp" in table
    assert "logsumexp" in made.to_dot()


def test_long_tables_are_cut() -> None:
    def f(x: Any) -> Any:
        for _ in range(40):
            x = x * 2.0
        return x

    assert str(graph(f, 1.0)).endswith("... and 21 more")
