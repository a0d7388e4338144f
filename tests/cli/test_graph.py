"""``xpnet graph``: expressions and models as tables, pictures and text; what cannot be meant."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.conftest import Command
from xpnet.autodiff import Graph, graph
from xpnet.autodiff.graphs import expressions
from xpnet.autodiff.graphs.expressions import Expression
from xpnet.backends import array_namespace
from xpnet.cli import graph as command
from xpnet.plot import graphs as graph_figure

LEAST_SQUARES = ("(y - (w @ x + b))**2", "w=1,2", "x=3,4", "b=0.5", "y=1")


def rows(text: str) -> dict[str, str]:
    """Return the last column of a printed table, by the operation's name."""
    found = {}
    for line in text.splitlines()[1:]:
        cells = re.split(r"\s{2,}", line.strip())
        found[cells[1]] = cells[-1]
    return found


# --- Expressions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
def test_least_squares_as_a_table(xpnet: Command, version: int) -> None:
    outcome = xpnet("graph", *LEAST_SQUARES, "--version", version, "--backend", "numpy")
    assert (outcome.code, outcome.err) == (0, "")
    r = 1 - 11.5
    assert rows(outcome.out)["w"] == f"[{-2 * r * 3:g}, {-2 * r * 4:g}]"
    assert rows(outcome.out)["b"] == f"{-2 * r:g}"
    assert rows(outcome.out)["pow"] == "1"


def test_only_names_asked_for_are_differentiated(xpnet: Command) -> None:
    outcome = xpnet("graph", *LEAST_SQUARES, "--wrt", "w, b", "--backend", "numpy")
    assert rows(outcome.out)["x"] == "[3, 4]"  # its value: it has no cotangent
    assert rows(outcome.out)["w"] == "[63, 84]"


@pytest.mark.parametrize("device", ["numpy", "array_api_strict"])
def test_devices(xpnet: Command, device: str) -> None:
    outcome = xpnet(
        "graph", "logsumexp(A @ tanh(x))[0] + 0.5 * sum(x**2)", "A=1,2;3,4;5,6;", "x=1,2", "--backend", device
    )
    assert outcome.code == 2  # a 0-d array has no index
    outcome = xpnet(
        "graph", "logsumexp(A @ tanh(x)) + 0.5 * sum(x**2)", "A=1,2;3,4;5,6;", "x=1,2", "--backend", device
    )
    assert outcome.code == 0, outcome.err
    assert "logsumexp" in outcome.out


def test_dtype(xpnet: Command) -> None:
    outcome = xpnet(
        "graph", "sum(x * x)", "x=1,2", "--dtype", "float32", "--output", "g.dot", "--backend", "numpy"
    )
    assert outcome.code == 0, outcome.err
    assert "float32 (2,)" in Path("g.dot").read_text()


def test_a_result_of_several_entries(xpnet: Command) -> None:
    outcome = xpnet("graph", "w * x", "w=1,2", "x=3,4", "--backend", "numpy")
    assert rows(outcome.out)["w"] == "[3, 4]"
    assert "the result has shape (2,): cotangents are those of the sum" in outcome.err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-x[0] + +x[-1]", 2.0),
        ("sum(x[:2])", 3.0),
        ("sum(x[::2] * x[1:])", 1 * 2 + 3 * 3.0),
        ("sum(reshape(A, (4,))[1:3])", 5.0),
        ("sum(A, axis=0)[1]", 6.0),
        ("sum(concat([x, x], axis=0))", 12.0),
        ("sum(where(x > 2, x, 0))", 3.0),
        ("x[0] * pi / pi * e / e", 1.0),
        ("mean(x) // 1 + x[1] % 2", 2.0),
        ("sigmoid(x[0] - 1) + relu(-x[1])", 0.5),
        ("sum(A @ A[0, ...])", 5 + 11.0),
    ],
)
def test_what_expressions_hold(text: str, value: float) -> None:
    x, A = np.asarray([1.0, 2.0, 3.0]), np.asarray([[1.0, 2.0], [3.0, 4.0]])
    values = {"x": x, "A": A}
    assert float(Expression(text)(values)) == pytest.approx(value)
    made = graph(lambda x: Expression(text)({"x": x, "A": A}), x)
    made.backward(cotangent=array_namespace(x).ones_like(made.forward()))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("__import__('os').system('ls')", "__import__('os').system"),
        ("x.__class__", "x.__class__"),
        ("(lambda: x)()", "lambda: x"),
        ("[y for y in x]", "[y for y in x]"),
        ("x if x else x", "x if x else x"),
        ("x and x", "x and x"),
        ("x < x < x", "x < x < x"),
        ("not x", "not x"),
        ("~x", "~x"),
        ("x | x", "x | x"),
        ("'text'", "'text'"),
        ("1j * x", "1j"),
        ("f'{x}'", "f'{x}'"),
        ("{x: x}", "{x: x}"),
        ("(y := x)", "y := x"),
        ("sum(*x)", "*x"),
        ("sum(**x)", "sum(**x)"),
        ("eval('x')", "eval"),
        ("getitem(x, 0)", "getitem"),
        ("unpack(x, 0)", "unpack"),
        ("x.sum()", "x.sum"),
        ("x[0](1)", "x[0]"),
    ],
)
def test_everything_else_is_refused(xpnet: Command, text: str, part: str) -> None:
    outcome = xpnet("graph", text, "x=1,2")
    assert outcome.code == 2
    assert part in outcome.err
    assert outcome.out == ""


def test_expressions_are_never_run_as_code() -> None:
    for module in (expressions, command):
        tree = ast.parse(Path(module.__file__).read_text())
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["(y - w", "y=1", "w=1"], "expected an expression such as '(y - w @ x)**2', found '(y - w'"),
        (["", "y=1"], "expected an expression"),
        (["x = 1", "x=1"], "invalid syntax"),
        (["(" * 300 + "x" + ")" * 300, "x=1"], "expected an expression such as"),
        (["tnh(x)", "x=1"], "unknown function 'tnh'; did you mean 'tanh'?"),
        (["qqq(x)", "x=1"], "unknown function 'qqq'; expected one of the array standard"),
        (["last_written(x, 0)", "x=1"], "unknown function 'last_written'"),
        (["x * y", "x=1"], "'x * y' has no value for its name 'y': add y=NUMBER"),
        (["runs/abc"], "nor is there a folder or a file 'runs/abc'"),
        (["x * x", "x=1", "y=2"], "has no name 'y'; known: x"),
        (["x * x", "x=1", "x=2"], "x: expected one value, found a second one, '2'"),
        (["x * x", "x:1"], "expected NAME=NUMBER[,NUMBER...] behind the expression, found 'x:1'"),
        (["x * x", "x=a"], "x: expected a number (2), a vector (1,2) or a matrix (1,2;3,4), found 'a'"),
        (["x * x", "x="], "found ''"),
        (["x * x", "x=1,2;3"], "x: expected rows of one length, found '1,2;3'"),
        (["2 * 3"], "'2 * 3' has no names"),
        (["w @ x", "w=1,2", "x=1,2,3"], "'w @ x' cannot be computed: "),
        (["sum(w @ x) + 1", "w=1,2", "x=1,2,3"], "'w @ x' cannot be computed: "),
        (["x + sum(w, axis=3)", "w=1,2", "x=1"], "'sum(w, axis=3)' cannot be computed: "),
        (["x[5]", "x=1,2"], "'x[5]' cannot be computed: "),
        (["x * 9**9**9**9", "x=1"], "cannot be computed: "),
        (["x > 1", "x=1"], "expected a floating result"),
        (["(x, x)", "x=1"], "expected a floating result"),
        (["x * x", "x=1", "--wrt", "z"], "--wrt: expected names of inputs, found 'z'; known: x"),
        (["x * x", "x=1", "--wrt", ","], "--wrt: expected names of inputs, found ','"),
        (["x * x", "x=1", "--version", "3"], "--version: expected 1 or 2, found '3'"),
        (["x * x", "x=1", "--output", "g.pdf"], "--output: expected a file ending in .svg"),
        (["x * x", "x=1", "--hidden", "3"], "--hidden has no meaning for an expression, which 'x * x' is"),
        (["x * x", "x=1", "--rows", "3"], "--rows has no meaning for an expression"),
        (["x * x", "x=1", "--dtype", "int8"], "--dtype: expected"),
        (["two-gaussians", "--checkpoint", "best"], "--checkpoint has no meaning for a table"),
        (["two-gaussians", "x=1"], "'x=1': expected values behind an expression only"),
        (["two-gaussians", "--rows", "0"], "--rows: expected a whole number of at least 1, found 0"),
        (["two-gaussians", "--wrt", "1.weight"], "--wrt: expected names of inputs, found '1.weight'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(xpnet: Command, folder: Path, arguments: list[str], complaint: str) -> None:
    outcome = xpnet("graph", *arguments, "--backend", "numpy")
    assert outcome.code == 2, outcome
    assert complaint in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(folder.iterdir()) == []


def test_a_device_that_is_not_there(xpnet: Command) -> None:
    assert xpnet("graph", "x * x", "x=1", "--backend", "nonsense").code == 3


# --- Models ----------------------------------------------------------------------------------------------


def test_a_model_that_is_not_yet_trained(xpnet: Command) -> None:
    arguments = (
        "two-gaussians",
        "--hidden",
        "3",
        "--activation",
        "tanh",
        "--rows",
        "2",
        "--backend",
        "numpy",
    )
    outcome = xpnet("graph", *arguments)
    assert outcome.code == 0, outcome.err
    found = rows(outcome.out)
    assert list(found)[:4] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert {"x", "affine", "tanh", "cross_entropy normalized=True"} <= set(found)
    assert xpnet("graph", *arguments, "--version", "2").out == outcome.out
    by_x = xpnet("graph", *arguments, "--wrt", "x")
    assert next(iter(rows(by_x.out))) == "x"
    assert xpnet("graph", "two-gaussians", "--rows", "100000").code == 5


@pytest.mark.full
def test_a_trained_run(xpnet: Command, trained: Callable[..., Path]) -> None:
    run = trained()
    best = xpnet("graph", run, "--backend", "numpy")
    assert best.code == 0, best.err
    assert "0.weight" in best.out
    last = xpnet("graph", run, "--checkpoint", "last", "--rows", "5", "--output", "run.svg")
    assert last.code == 0, last.err
    assert Path("run.svg").stat().st_size > 1000
    assert "--hidden has no meaning for a run folder" in xpnet("graph", run, "--hidden", "4").err
    assert xpnet("graph", ".").code == 1  # no run folder


# --- Pictures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["svg", "png", "dot", "mmd", "SVG"])
def test_formats(xpnet: Command, folder: Path, kind: str) -> None:
    outcome = xpnet("graph", *LEAST_SQUARES, "--output", f"graph.{kind}", "--backend", "numpy")
    assert outcome.code == 0, outcome.err
    assert outcome.err == f"a graph of 9 nodes written to graph.{kind}\n"
    assert [path.name for path in folder.iterdir()] == [f"graph.{kind}"]
    content = Path(f"graph.{kind}").read_bytes()
    start = {"svg": b"<?xml", "png": b"\x89PNG", "dot": b"digraph", "mmd": b"flowchart"}[kind.lower()]
    assert content.startswith(start)
    assert xpnet("graph", *LEAST_SQUARES, "--output", f"graph.{kind}", "--backend", "numpy").code == 0
    assert Path(f"graph.{kind}").read_bytes() == content  # the same graph, the same file


def test_the_svg_shows_values_and_cotangents(xpnet: Command) -> None:
    xpnet("graph", *LEAST_SQUARES, "--output", "graph.svg", "--backend", "numpy")
    text = Path("graph.svg").read_text()
    ElementTree.fromstring(text)
    shown = re.findall(
        r"<!-- (.*?) -->", text
    )  # matplotlib writes letters as shapes, and the text beside them
    assert {"(y - (w @ x + b))**2", "[63, 84]", "subtract", "matmul", "-10.5", "110.2"} <= set(shown)


def test_a_folder_that_is_not_there(xpnet: Command) -> None:
    outcome = xpnet("graph", *LEAST_SQUARES, "--output", "nowhere/graph.dot", "--backend", "numpy")
    assert outcome.code == 2
    assert "--output: there is no folder 'nowhere'" in outcome.err


def _wide(x: Any) -> Any:
    total = 0.0
    for i in range(12):
        total = total + array_namespace(x).tanh(x * float(i))
    return total


def _boxes(made: Graph) -> list[tuple[float, float, float, float]]:
    figure = graph_figure.graph_figure(made, title="a $title$ that is no formula")
    patches = [p for p in figure.axes[0].patches if type(p).__name__ == "FancyBboxPatch"]
    return [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in patches]


@pytest.mark.full
@pytest.mark.parametrize("name", ["one", "wide", "long", "repeated", "matrices"])
def test_boxes_do_not_overlap_and_hold_their_text(name: str) -> None:
    made = {
        "one": lambda: graph(lambda x: x, 1.0),
        "wide": lambda: graph(_wide, 0.5),
        "long": lambda: graph(lambda x: Expression("exp(sin(cos(tanh(x * x))))")({"x": x}), 0.5),
        "repeated": lambda: graph(lambda x: x * x * x, 2.0),
        "matrices": lambda: graph(lambda A: array_namespace(A).sum(A @ A.T), np.ones((3, 2)) * -1.2345e-9),
    }[name]()
    made.backward()
    boxes = _boxes(made)
    assert len(boxes) == len(made.nodes)
    for i, (x, y, width, height) in enumerate(boxes):
        for u, v, wide, high in boxes[:i]:
            assert x + width <= u or u + wide <= x or y + height <= v or v + high <= y
    figure = graph_figure.graph_figure(made)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    drawn = [
        p.get_window_extent(renderer) for p in figure.axes[0].patches if type(p).__name__ == "FancyBboxPatch"
    ]
    for text in figure.axes[0].texts[:-2]:
        part = text.get_window_extent(renderer)
        assert any(
            box.x0 <= part.x0 and part.x1 <= box.x1 and box.y0 <= part.y0 and part.y1 <= box.y1
            for box in drawn
        )
    page = figure.bbox
    assert all(
        page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in drawn
    )
