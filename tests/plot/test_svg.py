"""Axes that write themselves as SVG: numbers at their places, text within the picture, whatever is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest

from xpnet.plot import figures, layers
from xpnet.plot.svg import Axes

_SVG = "{http://www.w3.org/2000/svg}"


def _rows(*losses: float) -> list[dict[str, float]]:
    return [{"epoch": e, "loss": loss, "validation_loss": 1.5 * loss} for e, loss in enumerate(losses, 1)]


def _layers(count: int, name: str = "") -> Axes:
    courses = {f"{i} (Dense{name})": [10.0**-i, None, 0.0 if i == 1 else 1.0] for i in range(count)}
    return layers.layers_figure([0, 3, 9], courses, label="norm", title="t", guide=(1e-3, "usual"))


def _confused(classes: int, name: str) -> Axes:
    true = np.arange(2 * classes) % classes
    return figures.confusion_figure(true, np.maximum(true - 1, 0), [f"{name}{i}" for i in range(classes)])


def _predicted(true: np.ndarray, name: str = "price") -> Axes:
    return figures.predicted_figure(true, true[::-1], name, title="t")


CASES: dict[str, Callable[[], Axes]] = {
    "one epoch": lambda: figures.curve_figure(_rows(0.5), "loss", label="loss", best=1),
    "long names": lambda: figures.curve_figure(_rows(2, 1), "loss", label="表" * 90, title="表" * 90),
    "equal": lambda: figures.curve_figure(_rows(1e5, 1e5, 1e5 + 1e-4), "loss", label="loss"),
    "tiny": lambda: figures.curve_figure(_rows(1e-300, 2e-300), "loss", label="loss"),
    "zero": lambda: figures.curve_figure(_rows(0.0, 0.0), "loss", label="loss"),
    "many epochs": lambda: figures.curve_figure(_rows(*np.geomspace(1, 1e-9, 1200)), "loss", label="loss"),
    "layers": lambda: _layers(3),
    "eight layers": lambda: _layers(8, " of a long name"),
    "many layers": lambda: _layers(12),
    "two classes": lambda: _confused(2, "a class of a long name "),
    "many classes": lambda: _confused(30, "class "),
    "very many classes": lambda: _confused(50, ""),
    "one value": lambda: _predicted(np.ones(3)),
    "large values": lambda: _predicted(np.linspace(-3e8, 5e8, 6000), "price of the house as it was sold"),
}


@pytest.mark.parametrize("name", CASES)
def test_all_is_inside(name: str) -> None:
    drawn = CASES[name]().svg()
    assert len(drawn) < 150_000
    root = ElementTree.fromstring(drawn)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert "nan" not in "".join(element.attrib.get("d", "") for element in root.iter())
    assert sum(element.tag in (f"{_SVG}path", f"{_SVG}rect") for element in root.iter()) >= 4
    assert len(root.findall(f"{_SVG}text")) >= 4
    for text in root.iter(f"{_SVG}text"):
        size = float(text.attrib.get("font-size", 12))
        wide = sum(1.0 if ord(letter) > 0x2E80 else 0.55 for letter in text.text or "") * size
        wide = float(text.attrib.get("textLength", wide))
        if "transform" not in text.attrib and text in list(root):
            begin = (
                float(text.attrib["x"])
                - {"middle": 0.5, "end": 1.0}.get(text.attrib.get("text-anchor", ""), 0) * wide
            )
            assert -1 <= begin <= begin + wide <= width + 1, text.text
        else:
            assert wide <= max(width, height)


def test_numbers_are_at_their_places() -> None:
    axes = Axes(inside=(100.0, 100.0))
    axes.plot([0.0, 1.0, 2.0, 4.0], [1.0, 10.0, np.nan, 1000.0], color="red")
    axes.set_xlim(0.0, 4.0)
    axes.set_ylim(1.0, 1000.0)
    axes.set_yscale("log")
    found = ElementTree.fromstring(axes.svg()).find(f"{_SVG}path[@stroke='red']")
    assert found is not None
    places = re.findall(r"([ML])([\d.]+) ([\d.]+)", found.attrib["d"])
    (_, left, low), (_, x, y), (pen, right, top) = places
    assert pen == "M"  # behind a gap
    np.testing.assert_allclose([float(right) - float(left), float(low) - float(top)], 100, atol=0.11)
    np.testing.assert_allclose([float(x) - float(left), float(low) - float(y)], [25, 100 / 3], atol=0.11)


def test_counts_of_a_confusion_matrix() -> None:
    figure = figures.confusion_figure(np.asarray([0, 0, 1, 1]), np.asarray([0, 0, 0, 1]), ["no", "yes"])
    assert sorted(re.findall(r">(\d+)</text>", figure.svg())) == ["1", "1", "2"]


@pytest.mark.parametrize(
    ("losses", "kind"), [((9, 1, 0.01), "log"), ((0.9, 0.5), "linear"), ((1, 0), "linear")]
)
def test_losses_of_several_powers_have_a_logarithmic_scale(losses: tuple[float, ...], kind: str) -> None:
    assert figures.curve_figure(_rows(*losses), "loss", label="loss").yaxis.kind == kind
