"""Names of columns, classes and files are text wherever they are shown, whatever is in them."""

from __future__ import annotations

import csv
import io
import json
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.conftest import FAST
from tests.cli.test_report import Page
from xpnet.cli.console import facts
from xpnet.cli.flags import resolve
from xpnet.data import read_table
from xpnet.errors import DataError
from xpnet.plot import figures
from xpnet.runs.settings import Settings, to_toml
from xpnet.streams import message
from xpnet.text import json_visible, shown, to_json, visible
from xpnet.train import ProgressBar, ProgressLines

# Each means something to what shows it: rich, a terminal, HTML, matplotlib, spreadsheets, polars, a shell.
PARTS = (
    "[/cm]", "[m/s]", "[bold]", ":smile:", "$x_$", "$", "\\", "_", "\x1b[31m", "\x9b2J", "\x07", "\u202e",
    "\u2066", "\u200b", "\ufeff", "\u2028", "\n", "\r", "\t", "<b>", "&amp;", "'", '"', "`", "=1+2", "@",
    "%s", "{0}", "^", ".*$", "/", "..", ",", ";", "é", "日本", "\U000e0041", "long" * 200,
)  # fmt: skip
BRIEF = ("--rounds", "1", "--epochs", "1", "--tolerance", "none")
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def hidden(text):
    """Return the characters that a terminal obeys or nobody sees, but for line ends."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in HIDDEN]


names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("".join)


def test_every_hidden_character_is_shown():
    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        assert not hidden(visible(letter)), hex(code)
        if letter.isalnum() and letter not in "\u115f\u1160\u3164\uffa0":
            assert visible(letter) == letter, hex(code)


@given(st.text(), st.integers(2, 50))
def test_text_is_cut_and_json_and_toml_mean_the_same(text, most):
    assert len(shown(text, most)) <= most
    assert visible(visible(text)) == visible(text)
    written = to_json({"name": text})
    assert json.loads(written) == {"name": text}
    assert not hidden(written)
    assert json_visible(written) == written


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_settings_with_any_name(folder, text):
    written = to_toml(Settings(data="t.csv", target=text))
    Path("c.toml").write_text(written, encoding="utf-8")
    assert not hidden(written)
    assert resolve({}, Path("c.toml")).target in (text, text.strip())


KINDS = ("classification", "regression", "two targets")
TASKS = pytest.mark.parametrize("task", KINDS)


@pytest.mark.parametrize(
    "task", [pytest.param(x, marks=[pytest.mark.full] * (x != "classification")) for x in KINDS]
)
def test_hostile_names_in_every_command(task, xpnet, tmp_path_factory):
    """All parts, the first ones in the name of the target."""
    pieces = ["".join(PARTS[start::5]) for start in range(5)]
    through_every_command(task, pieces, xpnet, tmp_path_factory)


@TASKS
@pytest.mark.full
@given(pieces=st.lists(names, min_size=5, max_size=5))
@settings(max_examples=1, suppress_health_check=list(HealthCheck), deadline=None)
def test_random_hostile_names(task, pieces, xpnet, tmp_path_factory):
    through_every_command(task, pieces, xpnet, tmp_path_factory)


def through_every_command(task, pieces, xpnet, tmp_path_factory):
    target, column, one, two, file = pieces
    column, target, second = f"x{column}".strip(), f"{target}y".strip(), f"{two}z".strip()
    classes = [f"{one}k".strip(), f"{two}m".strip()]
    home = tmp_path_factory.mktemp("names")
    stem = "".join(c for c in file if c not in "/\0")[:60]
    table, run = home / f"t{stem}.csv", home / f"r{stem}"
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column, "kind", target, second])
    for i in range(40):
        values = [classes[i % 2], i % 3] if task == "classification" else [0.5 * i % 7, 0.1 * (i % 5)]
        writer.writerow([i % 7 + 0.5, ["é[/b]", "\x1b[0m"][i % 2], *values])
    table.write_text(text.getvalue(), encoding="utf-8", newline="")
    targets = [f"--target={target}", *([f"--target={second}"] if task == "two targets" else [])]
    out, said = str(run), []
    pruned = f"{out}-pruned"
    for arguments in (
        ("train", table, *targets, "--out", out, *FAST),
        ("evaluate", out),
        ("evaluate", out, table, "--json"),
        ("predict", out, table, "--out", home / "p.csv"),
        ("resume", out, "--epochs", "3"),
        ("prune", out, "--sparsity", "0.5", *BRIEF, "--out", pruned),
        ("train", table, *targets, "--print-config"),
    ):
        outcome = xpnet(*arguments)
        assert outcome.code == 0, (arguments, outcome.err)
        said += [outcome.out, outcome.err]
    wrong = xpnet("train", table, f"--target={target}no")
    assert wrong.code == 5
    said.append(wrong.err)
    for folder_of_run in (run, Path(pruned)):
        said += [(folder_of_run / name).read_text() for name in ("train.log", "results.json", "config.toml")]
        page = (folder_of_run / "report.html").read_text()
        assert not hidden(page.replace("\t", ""))
        Page(page)
        log = (folder_of_run / "train.log").read_text().splitlines()
        assert all(line[:2] == "20" and line[4] == "-" for line in log)  # each line begins with its time
    assert not [found for text in said if (found := hidden(text))]
    assert json.loads((run / "results.json").read_text())["target"] == (
        [target, second] if task == "two targets" else target
    )
    if task == "regression":
        assert shown(target, 60)[:5] in said[0]
    if task == "classification":
        predicted = set(read_table(home / "p.csv", text=["prediction"])["prediction"].to_list())
        assert {name.removeprefix("'") for name in predicted} <= {name.removeprefix("'") for name in classes}


@pytest.mark.parametrize("unit", ["absorbance [/cm]", "speed [m/s]", ":bug: [red]"])
def test_markup_in_the_name_of_a_target(unit, xpnet, folder):
    lines = "\n".join(f"{i % 7},{0.37 * i}" for i in range(60))
    Path("t.csv").write_text(f"a,{unit}\n{lines}\n")
    outcome = xpnet("train", "t.csv", "--target", unit, "--out", "run", *FAST)
    assert (outcome.code, f"RMSE of {unit}" in outcome.out) == (0, True), outcome.err


def test_two_rows(xpnet, folder):
    Path("t.csv").write_text("a,target\n1,x\n2,y\n")
    outcome = xpnet("train", "t.csv")
    assert (outcome.code, "validation=0 and test=0" in outcome.err, "{" in outcome.err) == (5, True, False)


def test_messages_errors_progress_and_logs(capsys, folder):
    bad = "a\x1b[2J\u202e[/b]\n" + "x" * 100_000
    message(f"column '{bad}'")
    ProgressLines(label="").on_epoch_end(None, {"epoch": 1, f"f{bad}": 0.5})
    facts({"table": bad})
    outcome = capsys.readouterr()
    assert not hidden(outcome.out + outcome.err)
    assert max(map(len, (outcome.out + outcome.err).splitlines())) < 5000
    assert len(outcome.err.splitlines()) == 2
    error = DataError(f"no column '{bad}'; remove it")
    assert not hidden(str(error))
    assert str(error).endswith("remove it")
    assert len(str(error)) < 5000


def test_the_progress_bar_takes_no_markup(monkeypatch):
    from types import SimpleNamespace

    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    bar = ProgressBar("[/b] \x1b[2J")
    bar.on_fit_begin(SimpleNamespace(epoch=0), 2)
    bar.on_epoch_end(None, {"epoch": 1, "f [/cm]": 0.5})
    bar.on_fit_end(None, None)
    assert "[/b] \\x1b[2Jepoch 1/2" in written.getvalue()
    assert "f [/cm] 0.5" in written.getvalue()


@pytest.mark.parametrize("name", ["$x^$", "_hidden", "a\nb", r"\$\frac{1", "$$", "x" * 500])
def test_names_in_figures(name):
    from xpnet.plot.layers import layers_figure

    rows = [{"epoch": 1, "loss": 0.5, "validation_loss": 0.6}]
    curve = figures.curve_figure(rows, "loss", label=f"loss ({name})", title=name)
    layers = layers_figure([1, 2], {name: [1.0, 2.0], "other": [1.0, 1.0]}, label=name, title=name)
    for axes, least in ((curve, 2), (layers, 3)):  # in the title, the label and the legend
        texts = [
            text.text for text in ElementTree.fromstring(axes.svg()).iter("{http://www.w3.org/2000/svg}text")
        ]
        assert sum(shown(name, 30)[:10] in text for text in texts) == least


def test_names_in_graphs():
    from xpnet.autodiff.graphs.pictures import Box, to_dot, to_mermaid

    boxes = [Box("n0", ['a"]; evil', "$$x$$ `b`\n\x1b\u202e"], "input")]
    dot, mermaid = to_dot(boxes, []), to_mermaid(boxes, [])
    assert not hidden(dot + mermaid)
    assert '"]; evil' not in mermaid
    assert 'a\\"]; evil' in dot
    assert "$$" not in mermaid
