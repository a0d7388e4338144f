"""Logs of the history: what they hold, and that no stop, kill or resumption spoils them."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet
from tests.train.support import class_data, make
from xpnet import Trainer
from xpnet.errors import ConfigError
from xpnet.train import Callback, CSVLog, JSONLinesLog, TensorBoard

X, Y = class_data(20)


@pytest.fixture
def _needs_tensorboard():
    if importlib.util.find_spec("tensorboard") is None:
        pytest.skip("tensorboard is not installed (extra tensorboard)")


def csv_rows(path):
    with path.open(newline="") as file:
        return [{name: text or None for name, text in row.items()} for row in csv.DictReader(file)]


def json_rows(path):
    return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]


def scalars(folder):
    """Return name -> [(step, value)] of all event files of a folder, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def raw_events(folder):
    """Return (step, time) of each event with numbers in all files of a folder: nothing is hidden here."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    events = [e for path in sorted(folder.iterdir()) for e in LegacyEventFileLoader(str(path)).Load()]
    return [(e.step, e.wall_time) for e in events if e.HasField("summary")]


READERS = {CSVLog: csv_rows, JSONLinesLog: json_rows}


def assert_same_rows(log, history):
    rows = READERS[type(log)](log.path)
    assert len(rows) == len(history)
    for got, want in zip(rows, history, strict=True):
        # repr gives the shortest text that is read back as the same number
        assert {k: float(v) for k, v in got.items()} == want


@pytest.fixture(params=READERS, ids=lambda kind: kind.__name__)
def log(request, tmp_path):
    return request.param(tmp_path / "logs" / "history")


def test_a_row_an_epoch_at_once(log):
    seen = []

    class Reading(Callback):
        def on_epoch_end(self, trainer, row):
            assert_same_rows(log, trainer.history)
            seen.append(row["epoch"])

    make(callbacks=[log, Reading()]).fit(X, Y, epochs=3, validation=0.2)
    assert seen == [1, 2, 3]
    assert log.path.read_text().endswith("\n")


def test_a_second_fit_continues(log):
    trainer = make(callbacks=[log])
    trainer.fit(X, Y, epochs=2)
    before = log.path.read_text()
    trainer.fit(X, Y, epochs=5)
    assert log.path.read_text().startswith(before)
    assert_same_rows(log, trainer.history)


@pytest.mark.parametrize("tear", [0, 1, 7], ids=["whole", "no line break", "torn"])
def test_a_loaded_trainer_drops_later_epochs_and_torn_lines(tear, log, tmp_path):
    trainer = make(callbacks=[log])
    trainer.fit(X, Y, epochs=2)
    trainer.save(tmp_path)
    trainer.fit(X, Y, epochs=4)
    log.path.write_bytes(log.path.read_bytes()[: -tear or None])
    loaded = Trainer.load(tmp_path, "numpy", callbacks=[type(log)(log.path)])
    loaded.fit(X, Y, epochs=2)  # nothing to train, but the log is mended
    assert_same_rows(log, loaded.history)
    loaded.fit(X, Y, epochs=5)
    assert_same_rows(log, loaded.history)
    assert [float(row["epoch"]) for row in READERS[type(log)](log.path)] == [1, 2, 3, 4, 5]


def test_a_new_training_replaces_the_log_of_an_old_one(log):
    make(callbacks=[log]).fit(X, Y, epochs=4)
    trainer = make(callbacks=[log], seed=1)
    trainer.fit(X, Y, epochs=1)
    assert_same_rows(log, trainer.history)


def test_a_log_given_late_has_all_epochs(log):
    trainer = make()
    trainer.fit(X, Y, epochs=2)
    trainer.callbacks = [log]
    trainer.fit(X, Y, epochs=3)
    assert_same_rows(log, trainer.history)


def test_a_log_that_is_removed_is_written_anew(log):
    class Removing(Callback):
        def on_epoch_end(self, trainer, row):
            if row["epoch"] == 1:
                log.path.unlink()

    trainer = make(callbacks=[log, Removing()])
    trainer.fit(X, Y, epochs=3)
    assert_same_rows(log, trainer.history)


def test_a_column_that_appears_later(log):
    class Adding(Callback):
        def on_epoch_end(self, trainer, row):
            if row["epoch"] >= 2:
                row["mine"] = 2.5

    make(callbacks=[Adding(), log]).fit(X, Y, epochs=3)
    rows = READERS[type(log)](log.path)
    assert [float(row["epoch"]) for row in rows] == [1, 2, 3]
    assert [row.get("mine") and float(row["mine"]) for row in rows] == [None, 2.5, 2.5]


def test_another_file_is_not_overwritten(log):
    log.path.parent.mkdir()
    log.path.write_text("length,width\n1,2\n")
    with pytest.raises(
        ConfigError, match=f"{type(log).__name__}: expected '.*history' to be missing or a log"
    ):
        make(callbacks=[log]).fit(X, Y, epochs=1)
    assert log.path.read_text() == "length,width\n1,2\n"


def test_a_log_that_cannot_be_written_ends_the_training(log, monkeypatch):
    class Filling(Callback):
        def on_epoch_end(self, trainer, row):
            if row["epoch"] == 2:
                monkeypatch.setattr(Path, "open", full)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    trainer = make(callbacks=[Filling(), log])
    with pytest.raises(OSError, match="No space left"):
        trainer.fit(X, Y, epochs=4)
    monkeypatch.undo()
    assert len(log.path.read_text().splitlines()) == (2 if isinstance(log, CSVLog) else 1)
    trainer.callbacks = [log]
    trainer.fit(X, Y, epochs=4)
    assert_same_rows(log, trainer.history)


def test_json_has_no_nan_and_takes_any_number(tmp_path):
    log = JSONLinesLog(tmp_path / "log.jsonl")
    row = {"epoch": 1, "a": math.nan, "b": -math.inf, "c": None, "d": np.float32(0.5), "e": np.asarray(3),
           "f": "ä\n\"", "g": [np.float64(math.nan), 1], "h": {"i": True}}  # fmt: skip
    log.write([row])
    assert json_rows(log.path) == [
        {"epoch": 1, "a": None, "b": None, "c": None, "d": 0.5, "e": 3, "f": 'ä\n"', "g": [None, 1],
         "h": {"i": True}}
    ]  # fmt: skip
    assert len(log.path.read_text().splitlines()) == 1


def test_csv_keeps_nan_and_quotes(tmp_path):
    log = CSVLog(tmp_path / "log.csv")
    log.write([{"epoch": 1, "a": math.nan, "b": 'x,"y"'}, {"epoch": 2, "c": 1}])
    assert csv_rows(log.path) == [
        {"epoch": "1", "a": "nan", "b": 'x,"y"', "c": None},
        {"epoch": "2", "a": None, "b": None, "c": "1"},
    ]


KILLED = """
import os, signal, sys
from tests.train.support import class_data, make
from xpnet.train import Callback, CSVLog, JSONLinesLog
class Dying(Callback):
    def on_epoch_end(self, trainer, row):
        trainer.save(sys.argv[1]) if row["epoch"] == 2 else None
        if row["epoch"] == 4:
            os.kill(os.getpid(), signal.SIGKILL)
logs = [kind(f"{sys.argv[1]}/{kind.__name__}") for kind in (CSVLog, JSONLinesLog)]
make(callbacks=[*logs, Dying()]).fit(*class_data(20), epochs=9)
"""


def test_what_a_kill_leaves_is_there_and_is_continued(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment)
    assert done.returncode == -signal.SIGKILL
    logs = [kind(tmp_path / kind.__name__) for kind in READERS]
    for log in logs:
        assert [float(row["epoch"]) for row in READERS[type(log)](log.path)] == [1, 2, 3, 4]
    loaded = Trainer.load(tmp_path, "numpy", callbacks=logs)
    loaded.fit(X, Y, epochs=3)
    whole = make()
    whole.fit(X, Y, epochs=3)
    assert loaded.history["loss"] == whole.history["loss"]
    for log in logs:
        assert_same_rows(log, loaded.history)


@pytest.mark.usefixtures("_needs_tensorboard")
def test_tensorboard_reads_what_was_trained(tmp_path):
    trainer = make(callbacks=[TensorBoard(tmp_path)], metrics=["accuracy"])
    rows = trainer.fit(X, Y, epochs=3, validation=0.2)
    for part, prefix in (("training", ""), ("validation", "validation_")):
        found = scalars(tmp_path / part)
        for name in ("loss", "accuracy"):
            want = [(row["epoch"], float(np.float32(row[prefix + name]))) for row in rows]
            assert found[name] == want
    assert set(scalars(tmp_path / "training")) == {"loss", "accuracy", "learning_rate", "seconds"}
    assert set(scalars(tmp_path / "validation")) == {"loss", "accuracy"}


@pytest.mark.usefixtures("_needs_tensorboard")
@pytest.mark.parametrize("tear", [0, 5])
def test_tensorboard_continues_without_doubles(tear, tmp_path):
    trainer = make(callbacks=[TensorBoard(tmp_path)])
    trainer.fit(X, Y, epochs=2)
    trainer.save(tmp_path)
    trainer.fit(X, Y, epochs=4)
    before = dict(raw_events(tmp_path / "training"))
    for path in (tmp_path / "training").iterdir():
        path.write_bytes(path.read_bytes()[: -tear or None])
    mine = tmp_path / "training" / "events.out.tfevents.1.another"
    mine.write_bytes(b"")
    torn = tmp_path / "training" / ".events.out.tfevents.2.xpnet.abc.tmp"  # of a kill while it was written
    torn.write_bytes(b"half")
    loaded = Trainer.load(tmp_path, "numpy", callbacks=[TensorBoard(tmp_path)])
    loaded.fit(X, Y, epochs=5)
    after = raw_events(tmp_path / "training")
    assert [step for step, _ in after] == [1, 2, 3, 4, 5]
    assert all(dict(after)[step] == before[step] for step in (1, 2))  # epochs keep their time
    losses = [(row["epoch"], float(np.float32(row["loss"]))) for row in loaded.history]
    assert scalars(tmp_path / "training")["loss"] == losses
    assert mine.exists()  # a file of someone else's
    assert not torn.exists()


@pytest.mark.usefixtures("_needs_tensorboard")
def test_tensorboard_given_late_or_anew(tmp_path):
    trainer = make()
    trainer.fit(X, Y, epochs=2, validation=0.2)
    trainer.callbacks = [TensorBoard(tmp_path)]
    trainer.fit(X, Y, epochs=3, validation=0.2)
    events = raw_events(tmp_path / "training")
    assert [step for step, _ in events] == [1, 2, 3]
    times = [when for _, when in events]
    assert times == sorted(times)
    fresh = make(callbacks=[TensorBoard(tmp_path)])
    fresh.fit(X, Y, epochs=1)
    assert [step for step, _ in raw_events(tmp_path / "training")] == [1]
    assert raw_events(tmp_path / "validation") == []


@pytest.mark.usefixtures("_needs_tensorboard")
def test_tensorboard_takes_numbers_only(tmp_path):
    TensorBoard(tmp_path).write(
        [{"epoch": 1, "loss": math.nan, "note": "text", "none": None, "n": np.int64(3)}]
    )
    found = scalars(tmp_path / "training")
    assert set(found) == {"loss", "n"}
    assert math.isnan(found["loss"][0][1])


@pytest.mark.usefixtures("_needs_tensorboard")
def test_tensorboard_works_without_tensorflow(tmp_path):
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from xpnet.train import TensorBoard\n"
        f"TensorBoard({str(tmp_path)!r}).write([{{'epoch': 1, 'loss': 0.5}}])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parents[1])}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    assert scalars(tmp_path / "training")["loss"] == [(1, 0.5)]


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"need tensorboard: pip install tensorboard"):
        TensorBoard(tmp_path)
