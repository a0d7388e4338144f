"""What a training shows: nothing from the library, lines where asked, a bar on a terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from tests.train.support import class_data, make
from xpnet import nn, optim
from xpnet.errors import ConfigError, DivergedError
from xpnet.train import Callback, ProgressBar, ProgressLines
from xpnet.train.progress import describe, for_terminal

X, Y = class_data(12)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that puts a terminal in the place of stderr, and returns it."""
    pytest.importorskip("rich", reason="rich is not installed")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")

    def put() -> Terminal:  # within the test, as pytest puts its own stream there before
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return put


def diverging():
    return make(model=nn.Dense(3), optimizer=optim.SGD(1e308))


@pytest.mark.parametrize("progress", [None, False])
def test_the_library_is_silent(progress, capfd, tmp_path):
    trainer = make(progress=progress, patience=2, metrics=["accuracy"])
    trainer.fit(X, Y, epochs=3, batch_size=5, validation=0.25)
    trainer.predict(X)
    trainer.evaluate(X, Y)
    trainer.save(tmp_path)
    type(trainer).load(tmp_path)
    with pytest.raises(DivergedError):
        diverging().fit(X * 1e5, Y, epochs=2)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("stderr", ["none", "no terminal"])
def test_no_terminal_no_bar(monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", None if stderr == "none" else io.StringIO())
    assert for_terminal() is None
    assert for_terminal(False) is None
    assert isinstance(for_terminal(True), ProgressLines)
    make().fit(X, Y, epochs=1)


def test_true_shows_lines_where_there_is_no_terminal(capfd):
    make(progress=True).fit(X, Y, epochs=2)
    out, err = capfd.readouterr()
    assert out == ""
    assert [line.split()[1] for line in err.splitlines()] == ["1/2", "2/2"]


@pytest.mark.parametrize(
    ("epochs", "lines", "shown"),
    [
        (3, 20, [1, 2, 3]),
        (100, 20, [1, *range(5, 101, 5)]),
        (7, 3, [1, 2, 4, 6, 7]),
        (50, 1, [1, 50]),
        (1, 20, [1]),
    ],
)
def test_lines_are_thinned(epochs, lines, shown):
    stream = io.StringIO()
    make(callbacks=[ProgressLines(stream, lines)]).fit(X, Y, epochs=epochs)
    found = stream.getvalue().splitlines()
    assert [int(line.split()[1].partition("/")[0]) for line in found[:1]] == [1]
    assert [int(line.removeprefix("epoch").partition("/")[0]) for line in found] == shown
    assert f"/{epochs}  loss " in found[0]


def test_a_line():
    assert describe({"epoch": 1, "loss": float("nan"), "x_y": 0.0}) == "loss nan  x y 0.0000"
    assert describe({"loss": 1e-7, "r2": -123456.0, "n": 7}) == "loss 1.000e-07  r2 -1.235e+05  n 7.0000"


def test_a_bar_on_a_terminal(terminal, capfd):
    stream = terminal()
    trainer = make(metrics=["accuracy"])
    trainer.fit(X, Y, epochs=4, batch_size=3)
    shown = stream.getvalue()
    assert "4/4" in shown
    assert f"accuracy {trainer.history['accuracy'][-1]:.4f}" in shown
    assert "\x1b[?25h" in shown[shown.rindex("\x1b[?25l") :]  # the cursor is back
    assert capfd.readouterr().out == ""


def last_line(shown):
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()][-1]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_bar_fits_its_terminal(columns, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = terminal()
    trainer = make(metrics=["accuracy"], max_steps=12)
    row = trainer.fit(X, Y, epochs=1000, batch_size=3, validation=0.25).rows[-1]
    line = last_line(stream.getvalue())
    assert len(line) == columns
    assert line.startswith(f"epoch {row['epoch']}/1000 ")
    numbers = (
        f"loss {row['loss']:.4f} accuracy {row['accuracy']:.4f} "
        f"val {row['validation_loss']:.4f}/{row['validation_accuracy']:.4f}"
    )
    assert line.rstrip().endswith(numbers if columns >= 80 else "…")


def test_a_bar_without_colours(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = terminal()
    make(metrics=["accuracy"]).fit(X, Y, epochs=4)
    assert set(re.findall(r"\x1b\[[0-9;]*m", stream.getvalue())) <= {"\x1b[0m", "\x1b[1m", "\x1b[2m"}


def test_false_shows_no_bar(terminal):
    stream = terminal()
    make(progress=False).fit(X, Y, epochs=2)
    assert stream.getvalue() == ""


class Raising(Callback):
    """Raises where it is told to."""

    def __init__(self, where):
        self.where = where

    def on_fit_begin(self, trainer, epochs):
        if self.where == "begin":
            raise RuntimeError("mine")

    def on_epoch_end(self, trainer, row):
        if self.where == "epoch" and row["epoch"] == 2:
            raise RuntimeError("mine")

    def on_fit_end(self, trainer, history):
        if self.where == "end":
            raise RuntimeError("mine")


@pytest.mark.parametrize("where", ["begin", "epoch", "end"])
def test_the_bar_is_stopped_whatever_happens(terminal, where, monkeypatch):
    terminal()
    bars = []
    original = ProgressBar.on_fit_begin

    def noted(self, trainer, epochs):
        bars.append(self)
        original(self, trainer, epochs)

    monkeypatch.setattr(ProgressBar, "on_fit_begin", noted)
    with pytest.raises(RuntimeError, match="mine"):
        make(callbacks=[Raising(where)]).fit(X, Y, epochs=3)
    assert [bar.bar.live.is_started for bar in bars] == ([] if where == "begin" else [False])


def test_the_bar_is_stopped_after_divergence(terminal):
    stream = terminal()
    with pytest.raises(DivergedError):
        diverging().fit(X * 1e5, Y, epochs=2)
    shown = stream.getvalue()
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_a_bar_can_be_used_for_several_fits(terminal):
    terminal()
    bar = ProgressBar()
    trainer = make(callbacks=[bar], progress=False)
    for epochs in (2, 4):
        trainer.fit(X, Y, epochs=epochs)
        assert len(bar.bar.tasks) == 1
        assert bar.bar.tasks[0].completed == epochs
        assert not bar.bar.live.is_started


def test_without_rich(terminal, monkeypatch):
    terminal()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert for_terminal() is None
    assert isinstance(for_terminal(True), ProgressLines)
    with pytest.raises(ConfigError, match=r"a progress bar needs rich: pip install rich"):
        ProgressBar()
