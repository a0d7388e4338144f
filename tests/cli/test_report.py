"""``report.html``: complete, valid, safe whatever names are in it, and as it should be in a real browser."""

from __future__ import annotations

import errno
import html
import io
import itertools
import json
import logging
import math
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import xpnet as package
from tests.cli.browser import Browser, find_chromium
from tests.cli.conftest import FAST, flowers
from xpnet.data import two_gaussians
from xpnet.plot import figures
from xpnet.plot.layers import layers_figure
from xpnet.runs import checkpoints
from xpnet.runs.report import draw_diagnostics, read_diagnostics

HOSTILE = ["<script>alert('x')</script>", "\"quoted\" & 'so'", "cost_$_$", "日本語", "-->]]><!--", "a\x0bb"]
COLUMN = "<img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """A parsed page; fails on elements that are not closed, and on names that are there twice."""

    void = frozenset({"meta", "link", "br", "image", "img"})

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.tags, self.words, self.references = [], [], [], [], []
        self.text_of = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes, *, closed=False):
        values = dict(attributes)
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])
        for name, value in attributes:
            if name in ("href", "src", "xlink:href") and not value.startswith("data:"):
                assert value.startswith("#"), value
                self.references.append(value[1:])
            if name in ("aria-labelledby", "for"):
                self.references.append(value)
            self.references += re.findall(r"url\(#(.*?)\)", value or "")
        if tag not in self.void and not closed:
            self.open.append((tag, values.get("id")))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes, closed=True)

    def handle_endtag(self, tag):
        if tag not in self.void:
            assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] != "style":
            self.words.append(data)
        for tag, identifier in self.open:
            if identifier:
                self.text_of[identifier] = self.text_of.get(identifier, "") + data
            if tag in ("caption", "h1", "title"):
                self.text_of[tag] = self.text_of.get(tag, "") + data + "\n"

    def all(self, tag):
        return [values for name, values in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    @property
    def sections(self):
        return [values["id"] for values in self.all("section")]


def read(run):
    """Return the report of a run, after the checks that every report has to pass."""
    text = Path(run, "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert len(set(page.ids)) == len(page.ids)
    assert set(page.references) <= set(page.ids)
    assert not page.all("script")
    assert not re.search(r"https?://(?!www\.w3\.org)", re.sub(r"(?s)<code>.*?</code>", "", text))
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    for name, values in page.tags:
        assert not [key for key in values if key.startswith("on")], (name, values)
    levels = [int(name[1]) for name, _ in page.tags if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(b - a for a, b in itertools.pairwise(levels)) <= 1
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert len(page.text_of[svg["aria-labelledby"]]) > 20
    assert len(page.all("table")) == len(page.all("caption"))
    assert all("scope" in values for values in page.all("th"))
    return page


def test_a_report_of_a_classifier(xpnet, folder):
    outcome = xpnet(
        "train",
        "two-gaussians",
        "--out",
        "run",
        *FAST,
        "--diagnostics",
        "0",
        "--dropout",
        "0.25",
        "--learning-rate",
        "0.01",
    )
    assert re.search(r"^report +run/report.html$", outcome.out, flags=re.MULTILINE)
    results = json.loads(Path("run/results.json").read_text())
    assert results["report"] == "run/report.html"
    page = read("run")
    assert page.text_of["h1"].strip() == "two-gaussians"
    assert page.sections == [
        "results", "warnings", "curves", "predictions", "diagnostics", "columns", "usage",
        "configuration", "environment",
    ]  # fmt: skip
    assert "Under-trained" in page.text  # after two epochs
    assert len(page.all("svg")) == 4
    for part, metrics in results["metrics"].items():
        assert (
            f"{part} {results['rows'][part]} {metrics['loss']:.4f} {100 * metrics['accuracy']:.2f} %"
            in page.text
        )
    accuracy, (low, high) = (results[name]["test"]["accuracy"] for name in ("metrics", "intervals"))
    within = f"{100 * low:.3g} to {100 * high:.3g} %"
    assert f"accuracy on test rows (95 %: {within}) {100 * accuracy:.2f} %" in page.text
    assert f"{100 * accuracy:.2f} % {within}" in page.text
    assert f"always '{results['baseline']['prediction']['class']}'" in page.text
    assert (
        "Those that differ from the default: hidden, dropout, learning-rate, epochs, diagnostics" in page.text
    )
    assert "0.25 changed 0.0" in page.text
    assert "0.01 changed 0.002" in page.text
    environment = json.loads(Path("run/environment.json").read_text())
    for told in (environment["platform"], environment["data"]["sha256"], f"numpy {np.__version__}"):
        assert told in page.text
    rows = Path("run/history.csv").read_text().splitlines()
    assert f"{float(rows[1].split(',')[2]):.4f}" in page.text


def test_a_report_of_a_regression(xpnet, folder):
    Path("flowers.csv").write_text(flowers())
    outcome = xpnet("train", "flowers.csv", "--target", "price", "--out", "run", *FAST, "--json")
    page = read("run")
    assert "Errors of price on the test rows" in page.text
    assert f"RMSE on test rows {outcome.json['metrics']['test']['rmse']:.4f}" in page.text
    assert "the loss is that of the standardized target" in page.text
    assert "length, width, colour, kind" in page.text.replace(" ,", ",")


def test_columns_decisions_and_advice(xpnet, folder):
    lines = flowers(missing=True).splitlines()
    Path("flowers.csv").write_text("\n".join(f"{number or 'id'},{line}" for number, line in enumerate(lines)))
    assert xpnet("train", "flowers.csv", "--target", "kind", "--out", "run", *FAST).code == 0
    page = read("run")
    text = " ".join(page.text_of["columns"].split())
    assert "id left out as a count of the rows: it counts them from 1; use='id' keeps it" in text
    assert "take the training median" in text
    assert "The columns of the table" in text
    assert "train on with xpnet.runs.open('run').resume(epochs=4)" in page.text


@pytest.mark.full
@pytest.mark.parametrize(
    "arguments",
    [("--validation", "0", "--test", "0"), ("--test", "0"), ("--epochs", "150", "--max-steps", "130")],
)
def test_reports_of_unusual_trainings(arguments, xpnet, folder):
    assert xpnet("train", "xor", "--out", "run", *FAST, "--batch-size", "full", *arguments).code == 0
    page = read("run")
    shown = "train" if "--validation" in arguments else "validation" if "--test" in arguments else "test"
    assert f"accuracy on {shown} rows" in page.text
    if "--max-steps" in arguments:
        assert "of 130 epochs; history.csv has all of them" in page.text


def hostile_table(path):
    lines = [f'"{COLUMN}","a $x_$ b","{HOSTILE[0]}"']
    for i in range(60):
        name = HOSTILE[i % len(HOSTILE)].replace('"', '""')
        lines.append(f'{i % 6},{i % 7},"{name}"')
    path.write_text("\n".join(lines) + "\n")


def test_names_are_text_wherever_they_come_from(xpnet, folder):
    data = folder / f"<script>alert(2)<b>&$_$ \x7f{'long' * 20}.csv"
    hostile_table(data)
    out = "run <i>&'"
    outcome = xpnet("train", data, "--target", HOSTILE[0], "--out", out, *FAST)
    assert outcome.code == 0, outcome.err
    page = read(out)
    for text in (*HOSTILE[:5], "a\\x0bb", COLUMN, data.name.replace("\x7f", "\\x7f")):
        assert text in page.text
    assert page.text_of["title"].strip().startswith("<script>alert(2)<b>")
    allowed = """a body caption code dd details div dl dt figcaption figure footer g h1 h2 head
        header html li link main meta nav ol p path pre rect section span strong style summary svg
        table tbody td text th thead time title tr ul"""
    assert {name for name, _ in page.tags} <= set(allowed.split())


def test_hostile_diagnostics_and_logs(xpnet, trained):
    run = trained()
    row = {"epoch": 1, "layers": [{"layer": COLUMN, "gradient_norm": 1.0}],
           "verdicts": [{"kind": HOSTILE[0], "layer": COLUMN, "message": HOSTILE[4]}]}  # fmt: skip
    (run / "diagnostics.jsonl").write_text(json.dumps(row) + "\n")
    with (run / "train.log").open("a") as log:
        log.write(f"2026-01-01T00:00:00+00:00 warning: {HOSTILE[0]}\n")
    assert xpnet("resume", run, "--epochs", "3", "--diagnostics", "0").code == 0
    page = read(run)
    assert f"layer {COLUMN}, epoch 1" in page.text
    assert f"warning: {HOSTILE[0]}" in page.text


def layer(name, **values):
    numbers = {"weight_norm": 2.0, "gradient_norm": 0.5, "activation_rms": 1.0, "update_ratio": 1e-3,
               "dead": None, "saturated": None}  # fmt: skip
    return {"layer": name, **numbers, **values}


def diagnosed(xpnet, run, lines, *arguments):
    (run / "diagnostics.jsonl").write_text("\n".join(lines))
    outcome = xpnet("resume", run, "--epochs", "3", "--diagnostics", "0", *arguments)
    assert outcome.code == 0, outcome.err
    return read(run)


def test_diagnostics(xpnet, trained):
    plateau = {"kind": "plateau", "layer": "loss", "message": "stands"}
    vanishing = {"kind": "vanishing gradients", "layer": "0 (Dense)", "message": "use ReLU"}
    lines = [
        json.dumps(
            {
                "epoch": epoch,
                "layers": [
                    layer("0 (Dense)", dead=0.1 * epoch),
                    layer("1 (ReLU)", weight_norm=0.0, gradient_norm=0.0, update_ratio=None),
                    layer("2 (Dense)", update_ratio=None),
                ],
                "verdicts": [vanishing, plateau] if epoch in (2, 3, 5) else [],
            }
        )
        for epoch in (1, 2, 2, 3, 5)
    ]
    page = diagnosed(xpnet, trained(), [*lines, lines[-1][:40]])  # the last one torn by a kill
    assert "diagnostics" in page.sections
    assert "Vanishing gradients layer 0 (Dense), epochs 2 to 5 use ReLU" in page.text
    assert "Plateau loss, epochs 2 to 5 stands" in page.text
    assert page.text.count("use ReLU") == 1
    found = read_diagnostics(Path("run/diagnostics.jsonl"))
    assert found.layers["gradient_norm"]["1 (ReLU)"] == [None] * 4  # it has no weights
    assert found.layers["gradient_norm"]["2 (Dense)"] == [0.5] * 4
    names = {path.stem for path in Path("run/figures").iterdir()}
    assert {"gradient_norms", "update_ratios", "activation_scale", "dead_units"} <= names
    assert "saturated_units" not in names  # nothing was measured
    assert len(page.all("svg")) == 4 + 4
    assert {"gradient-norms-caption", "dead-units-caption"} <= set(page.ids)


def test_no_fault(xpnet, trained):
    line, sound = json.dumps({"epoch": 1, "layers": [layer("0")], "verdicts": []}), "No fault was found."
    page = diagnosed(xpnet, trained(), [line], "--learning-rate", "0.001")
    assert sound not in page.text
    assert "Under-trained" in page.text
    page = diagnosed(xpnet, Path("run"), [line], "--epochs", "40", "--learning-rate", "0.03")
    assert f"{sound} (1 epoch looked at, 1 to 1.)" in page.text


@pytest.mark.full
@pytest.mark.parametrize(
    ("layers", "value"), [(2, 0.0), (2, 1e-12), (2, None), (2, math.nan), (30, 0.0), (30, None)]
)
def test_layers_of_all_kinds_can_be_drawn(layers, value, folder):
    lines = [
        json.dumps(
            {
                "epoch": epoch,
                "layers": [
                    layer(f"{i} $_$", gradient_norm=value if i else 10.0**-epoch) for i in range(layers)
                ],
            }
        )
        for epoch in (1, 2, 7)
    ]
    Path("diagnostics.jsonl").write_text("\n".join(lines))
    found = read_diagnostics(Path("diagnostics.jsonl"))
    assert found.epochs == [1, 2, 7]
    assert found.layers["gradient_norm"]["1 $_$"] == [value if value in (0.0, 1e-12) else None] * 3
    pictures = draw_diagnostics(found, folder, "a title")
    assert [p.path.stem for p in pictures] == ["gradient_norms", "update_ratios", "activation_scale"]
    for picture in pictures:
        assert len(ElementTree.parse(picture.path).getroot()) > 10


@pytest.mark.parametrize(
    "text", [None, "", "\n", "[" * 100_000, "null\n[]\n3\n", '{"epoch": "x"}\n{"layers": []}']
)
def test_diagnostics_that_say_nothing(text, folder):
    if text is not None:
        Path("diagnostics.jsonl").write_text(text)
    assert read_diagnostics(Path("diagnostics.jsonl")) is None


def test_colours_of_figures_follow_the_page():
    rules = resources.files("xpnet.runs.report").joinpath("report.css").read_text()
    many = {f"layer {i}": [0.1, 0.2] for i in range(8)}
    rows = [{"epoch": e, "loss": e, "validation_loss": 2.0} for e in (1, 2)]
    one = figures.curve_figure(rows, "loss", label="loss", best=2)
    other = figures.confusion_figure(np.asarray([0, 1]), np.asarray([0, 0]), ["no", "yes"])
    for axes in (one, other, layers_figure([1, 2], many, label="", title="", guide=(0.1, "usual"))):
        drawn = axes.svg()
        assert " id=" not in drawn  # several figures are on a page
        for attribute, colour in set(re.findall(r'(stroke|fill)="(#\w+)"', drawn)) - {("fill", "#FFFFFF")}:
            assert f'.drawing [{attribute}="{colour}"] {{ {attribute}: ' in rules


def test_warnings_and_resumptions_are_told(xpnet, folder, monkeypatch):
    calls = []

    def interrupted(self, trainer, step, steps):
        calls.append(step)
        if len(calls) == 1:
            logging.getLogger("xpnet").warning("steps run uncompiled: %s", HOSTILE[0])
        if len(calls) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.Keeper, "on_step_end", interrupted)
    assert (
        xpnet("train", "two-gaussians", "--out", "run", *FAST, "--batch-size", "full", "--epochs", "4").code
        == 130
    )
    assert not Path("run/report.html").exists()
    assert xpnet("resume", "run").code == 0
    page = read("run")
    assert "warnings" in page.sections
    assert f"warning: steps run uncompiled: {HOSTILE[0]}" in page.text
    assert "interrupted after epoch 2" in page.text
    assert re.search(r"resumed \S+, after epoch 2, on numpy", page.text)


@pytest.mark.full
def test_what_it_says_how_to_use_the_run_is_true(xpnet, trained):
    run = trained("two-gaussians", "--seed", "1", out="a run")
    text = (run / "report.html").read_text()
    *python, shell = map(html.unescape, re.findall(r"(?s)<pre><code>(.*?)</code></pre>", text))
    table = xpnet("predict", run, "two-gaussians").out
    assert table.startswith("prediction,")
    two_gaussians().frame.write_csv("new.csv")
    two_gaussians().frame.write_csv("other.csv")
    for line in shell.splitlines():
        program, *arguments = shlex.split(line.partition(" > ")[0])
        assert program == "xpnet"
        outcome = xpnet(*arguments)
        assert outcome.code == 0, outcome.err
        if "predict" in arguments:
            assert outcome.out == table
    code = "\n".join([*python, "assert predictions.shape == (1000, 3)"])
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.full
def test_the_report_is_written_whole_or_not_at_all(xpnet, folder, monkeypatch):
    real = os.fsync

    def full(handle):
        if "report.html" in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = xpnet("train", "two-gaussians", "--out", "run", *FAST, "--quiet")
    assert outcome.code == 1
    assert "'run/report.html': No space left on device" in outcome.err
    assert not Path("run/report.html").exists()
    assert not Path("run/results.json").exists()
    assert xpnet("resume", "run").code == 0
    read("run")


@pytest.mark.full
def test_many_classes(xpnet, folder):
    rows = "".join(f"{i % 50},{(i * 7) % 50},name {i % 50}\n" for i in range(1000))
    Path("many.csv").write_text("a,b,y\n" + rows)
    assert xpnet("train", "many.csv", "--target", "y", "--out", "run", *FAST).code == 0
    page = read("run")
    assert "the 40 of 50 that are recognized least" in page.text
    assert len(re.findall(r"name \d+ \d+ \d", page.text)) <= 40


@pytest.mark.full
def test_the_history_in_three_forms(xpnet, folder):
    assert xpnet("train", "two-gaussians", "--out", "run", *FAST).code == 0
    assert xpnet("resume", "run", "--epochs", "5").code == 0
    rows = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    lines = Path("run/history.csv").read_text().splitlines()
    assert lines[0].split(",") == list(rows[0])
    assert [[float(cell) for cell in line.split(",")] for line in lines[1:]] == [
        list(row.values()) for row in rows
    ]
    assert not Path("run/tensorboard").exists()


def test_tensorboard(xpnet, folder):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert xpnet("train", "two-gaussians", "--out", "run", *FAST, "--tensorboard").code == 0
    assert xpnet("resume", "run", "--epochs", "4").code == 0
    rows = [json.loads(line) for line in Path("run/history.jsonl").read_text().splitlines()]
    for part, name in (("training", "loss"), ("validation", "validation_loss")):
        events = reader.EventAccumulator(f"run/tensorboard/{part}").Reload().Scalars("loss")
        assert [event.step for event in events] == [1, 2, 3, 4]
        assert [event.value for event in events] == [np.float32(row[name]) for row in rows]


def test_tensorboard_that_is_not_installed(xpnet, trained, monkeypatch):
    run = trained()
    config = run / "config.toml"
    config.write_text(config.read_text().replace("tensorboard = false", "tensorboard = true"))
    find = package.extras.importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    for command in (
        ("train", "two-gaussians", "--tensorboard", "--out", "new"),
        ("resume", run, "--epochs", "3"),
    ):
        outcome = xpnet(*command)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.endswith(
            "needs tensorboard: pip install tensorboard (of the extra 'tensorboard')\n"
        )
    assert not Path("new").exists()


# --- in a browser -------------------------------------------------------------------------------------

# Text that is hard to read: contrast below 4.5 : 1 (WCAG 2.2, 1.4.3) against the ground behind it.
CONTRAST = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const luminance = colour => {
    const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = numbers(colour).slice(0, 3).map(c => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const poor = [];
  for (const element of document.querySelectorAll('body *:not(svg *)')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    const pair = [getComputedStyle(element).color, ground(element)].map(luminance).sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.push(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
})()"""
FIGURES = """[...document.querySelectorAll('figure svg')].map(svg => {
  const box = svg.getBoundingClientRect(), lines = svg.querySelectorAll('path, rect, text');
  return [box.width, box.height, lines.length];
})"""


@pytest.fixture(scope="module")
def chromium():
    found = find_chromium()
    if found is None:
        pytest.skip("no chromium or google-chrome on the PATH or in XPNET_CHROMIUM")
    return found


def test_in_a_browser(chromium, xpnet, folder):
    hostile_table(folder / "table.csv")
    assert xpnet("train", "table.csv", "--target", HOSTILE[0], "--out", "run", *FAST).code == 0
    verdict = {"kind": "dead units", "layer": "0 (Dense)", "message": HOSTILE[0]}
    rows = [{"epoch": e, "layers": [layer("0 (Dense)", dead=0.2)], "verdicts": [verdict]} for e in (1, 2)]
    diagnosed(xpnet, Path("run"), list(map(json.dumps, rows)))
    page = Path("run/report.html")
    with Browser(chromium, folder / "profile") as browser:
        grounds = {}
        for scheme in ("light", "dark"):
            for width in (390, 1200):
                browser.show(page, width=width, scheme=scheme)
                assert browser.evaluate("document.readyState") == "complete"
                assert browser.evaluate("document.title") == "table.csv: training report"
                assert browser.evaluate("[...document.querySelectorAll('h2')].map(h => h.textContent)") == [
                    "Results", "Curves", "Predictions", "Diagnostics", "Columns and decisions", "Use",
                    "Configuration", "Environment",
                ]  # fmt: skip
                figures = browser.evaluate(FIGURES)
                assert len(figures) == 8
                for wide, high, lines in figures:
                    assert wide >= 250
                    assert high >= 150
                    assert lines > 12
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate(CONTRAST) == []
            grounds[scheme] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
            assert spread(browser.screenshot()) > 0.02
        assert grounds["light"] != grounds["dark"]
        browser.show(page, width=800, scheme="dark", media="print")
        assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert browser.complaints == []
        address = page.resolve().as_uri()
        assert {url for url in browser.requests if not url.startswith("data:")} == {address}


def spread(png):
    """Return the standard deviation of a picture's brightness, from 0 to 1: a blank one has none."""
    from matplotlib.image import imread

    return float(imread(io.BytesIO(png))[..., :3].std())
