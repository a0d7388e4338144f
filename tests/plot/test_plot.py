"""Pictures on axes: those that are given are drawn on and returned, without any pyplot makes some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xpnet import plot
from xpnet.errors import ConfigError, DataError
from xpnet.tabular import Importance

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("agg")

ROWS = [{"epoch": e, "loss": 1 / e, "validation_loss": 1.1 / e, "learning_rate": 0.1} for e in (1, 2, 3)]
LAYERS = [
    {"epoch": e, "layers": [{"layer": str(i), "gradient_norm": 0.1**i, "dead": None} for i in range(3)]}
    for e in (0, 1, 2)
]
MANY = [
    {"epoch": e, "layers": [{"layer": str(i), "gradient_norm": 0.1 * i} for i in range(12)]} for e in (0, 1)
]
CLASSES = np.asarray(["a", "b", "a", "b"])
FOUND = Importance("accuracy", 0.9, ("size", "$x$"), (0.3, 0.1), (0.02, 0.01), 5)
PROBABILITIES = np.asarray([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45]])

CASES: dict[str, Callable[..., Any]] = {
    "loss_curves": lambda **o: plot.loss_curves(ROWS, best=3, **o),
    "confusion_matrix": lambda **o: plot.confusion_matrix(CLASSES, CLASSES[::-1], **o),
    "predicted_against_true": lambda **o: plot.predicted_against_true([1.0, 2.0], [1.5, 2.0], "price", **o),
    "importance": lambda **o: plot.importance(FOUND, **o),
    "calibration": lambda **o: plot.calibration([0, 1, 1, 1], PROBABILITIES, **o),
    "diagnostics": lambda **o: plot.diagnostics(LAYERS, **o),
}


def test_each_picture_has_a_case() -> None:
    assert set(CASES) == set(plot.__all__)


@pytest.mark.parametrize("name", CASES)
def test_axes_in_axes_out(name: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.add_subplot()
    assert CASES[name](ax=axes, title="a title") is axes
    assert axes.get_title(loc="left") == "a title"
    assert axes.get_xlabel()
    figure.savefig("/dev/null", format="png")


@pytest.mark.parametrize("name", CASES)
def test_axes_of_its_own(name: str) -> None:
    from matplotlib import pyplot

    axes = CASES[name]()
    assert axes.figure.number in pyplot.get_fignums()
    pyplot.close("all")


def test_many_layers_are_rows_of_colours() -> None:
    from matplotlib.figure import Figure

    axes = plot.diagnostics(MANY, ax=Figure().add_subplot())
    assert len(axes.collections) == 1
    assert not axes.lines


def test_counts_of_a_confusion_matrix() -> None:
    from matplotlib.figure import Figure

    true, predicted = ["no", "no", "yes", "no"], ["no", "yes", "yes", "no"]
    axes = plot.confusion_matrix(true, predicted, ["no", "yes", "maybe"], ax=Figure().add_subplot())
    assert sorted(text.get_text() for text in axes.texts) == ["1", "1", "2"]


def test_calibration_of_one_class() -> None:
    from matplotlib.figure import Figure

    axes = plot.calibration([True, False, True], [0.95, 0.05, 0.9], bins=2, ax=Figure().add_subplot())
    x, y = (np.asarray(values, dtype=float) for values in axes.lines[1].get_data())
    np.testing.assert_allclose((x, y), ([0.05, 0.925], [0.0, 1.0]))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: plot.loss_curves(ROWS, "los"), ConfigError, "did you mean 'loss'"),
        (lambda: plot.confusion_matrix(["a"], ["b"], ["a"]), DataError, "found 'b'"),
        (lambda: plot.confusion_matrix(["a"], []), DataError, "found 1 and 0"),
        (lambda: plot.predicted_against_true([], []), DataError, "at least one"),
        (lambda: plot.diagnostics(LAYERS, "gradient"), ConfigError, "gradient_norm"),
        (lambda: plot.diagnostics(LAYERS, "dead"), ConfigError, "no layer has a dead"),
    ],
)
def test_what_cannot_be_drawn(call: Callable[[], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def _inside(ax: Any) -> bool:
    """Whether labels, ticks and legend are within the figure."""
    figure = ax.figure
    figure.canvas.draw()
    found, whole = ax.get_tightbbox(figure.canvas.get_renderer()), figure.bbox
    return bool(min(found.x0, found.y0) >= -1 and found.x1 <= whole.x1 + 1 and found.y1 <= whole.y1 + 1)


def test_no_label_is_cut_off() -> None:
    i = np.arange(260)
    names = ["Iris-setosa of the north", "versicolor", "virginica"]
    letters = [chr(97 + k % 26) * 8 for k in i]
    prices = 1e7 * (1 + i)
    row = {"layer": "0 (Dense with a name)", "gradient_norm": 0.001}
    layers = [{"epoch": e, "layers": [{**row, "layer": f"{k} {row['layer']}"} for k in range(8)]} for e in i]
    for ax in (
        plot.confusion_matrix([names[k % 3] for k in i], [names[k % 3] for k in i], title="a title"),
        plot.confusion_matrix(letters, letters),
        plot.predicted_against_true(prices, prices, "price of the house in US dollars, as sold", title="t"),
        plot.importance({"a column with a very long name that goes on": (0.3, 0.05), "b": (0.1, 0.02)}),
        plot.calibration(i % 2, (i % 10) / 10),
        plot.diagnostics(layers, title="gradients"),
    ):
        assert _inside(ax), ax.get_ylabel()
        ax.figure.clear()
