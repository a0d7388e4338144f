"""Logs of a training: the history, row by row, in files that other programs can read meanwhile.

A log is the history: when a fit begins, the file is made equal to the trainer's history, and each epoch adds
its row. So a training that was loaded goes on without a gap, an epoch twice, or the torn line of a process
that was killed; and a new training that is given the file of an old one replaces it.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import itertools
import json
import math
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xpnet.errors import ConfigError
from xpnet.files import write_atomically
from xpnet.text import json_visible
from xpnet.train.callbacks import Callback
from xpnet.train.history import History
from xpnet.train.trainer import Trainer

__all__ = ["CSVLog", "JSONLinesLog", "TensorBoard"]


class _TextLog(Callback):
    """A log of one line an epoch, each on the disk before the next epoch begins.

    Args:
        path: the file; its folder is made if missing.

    Raises:
        ConfigError: when a fit begins: there is a file at ``path`` that is no such log.
        OSError: it cannot be written; a row is then missing, and is there again when a fit begins.
    """

    _opening = ""  # with which every such log begins

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._check_is_log()
        self.write(trainer.history)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        line = self._line(row)
        if line is None or not self.path.exists():
            self.write(trainer.history)
            return
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(line)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Bring the file to the disk."""
        with contextlib.suppress(OSError), self.path.open("rb+") as file:
            os.fsync(file.fileno())

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make the file equal to ``rows``, atomically; there is none where there are no rows."""
        text = self._text(list(rows))
        if not text:
            self.path.unlink(missing_ok=True)
        elif not self.path.exists() or self.path.read_bytes() != text.encode():
            write_atomically(self.path, text)

    def _check_is_log(self) -> None:
        try:
            with self.path.open("rb") as file:
                found = file.read(len(self._opening))
        except FileNotFoundError:
            return
        if found not in (b"", self._opening.encode()):
            raise ConfigError(
                f"{type(self).__name__}: expected '{self.path}' to be missing or a log of this kind, found "
                "another file; choose another path"
            )

    def _text(self, rows: list[Mapping[str, Any]]) -> str:
        raise NotImplementedError

    def _line(self, row: Mapping[str, Any]) -> str | None:
        """Return the row as a line to append; None if it cannot be without changing the lines before it."""
        raise NotImplementedError


class CSVLog(_TextLog):
    """Writes the history to a CSV file: a line of column names, then one line for each epoch.

    A column that appears later is added to all lines; a cell is empty where a row lacks the column.
    Callbacks that add columns are to come before it.

    Args:
        path: the file; its folder is made if missing.

    Raises:
        ConfigError: when a fit begins: there is a file at ``path`` that is no such log.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from xpnet import Trainer, data, nn, optim
        >>> path = Path(tempfile.mkdtemp()) / "history.csv"
        >>> X, y = data.digits_arrays()
        >>> trainer = Trainer(nn.MLP([8], 10), "softmax_cross_entropy", optim.Adam(), backend="numpy",
        ...                   callbacks=[CSVLog(path)])
        >>> history = trainer.fit(X / 16, y, epochs=2, batch_size=None)
        >>> [line.split(",")[:2] for line in path.read_text().splitlines()]
        [['epoch', 'step'], ['1', '1'], ['2', '2']]
    """

    _opening = "epoch,"

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(path)
        self._columns: list[str] = []

    def _text(self, rows: list[Mapping[str, Any]]) -> str:
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        return self._lines([{name: name for name in self._columns}, *rows]) if rows else ""

    def _line(self, row: Mapping[str, Any]) -> str | None:
        return self._lines([row]) if set(row) <= set(self._columns) else None

    def _lines(self, rows: list[Mapping[str, Any]]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        return text.getvalue()


class JSONLinesLog(_TextLog):
    """Writes the history as JSON lines: one object for each epoch.

    Numbers that JSON has no word for (NaN, infinity) become null. Callbacks that add columns are to come
    before it.

    Args:
        path: the file; its folder is made if missing.

    Raises:
        ConfigError: when a fit begins: there is a file at ``path`` that is no such log.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> log = JSONLinesLog(Path(tempfile.mkdtemp()) / "history.jsonl")
        >>> log.write([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": float("inf")}])
        >>> print(log.path.read_text(), end="")
        {"epoch": 1, "loss": 0.5}
        {"epoch": 2, "loss": null}
    """

    _opening = '{"epoch":'

    def _text(self, rows: list[Mapping[str, Any]]) -> str:
        return "".join(map(self._line, rows))

    def _line(self, row: Mapping[str, Any]) -> str:
        return json_visible(json.dumps(_plain(row), ensure_ascii=False, allow_nan=False)) + "\n"


def _plain(value: Any) -> Any:
    """Return ``value`` in terms of JSON; an array of one number (of any library) is the number."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    try:
        return _plain(value.item())
    except (AttributeError, TypeError, ValueError):
        return str(value)


class TensorBoard(Callback):
    """Writes the history for TensorBoard; needs the extra ``tensorboard``.

    Numbers of the training rows are written to ``<folder>/training``, those of the validation rows to
    ``<folder>/validation`` under the same names (``loss``, ``accuracy``), so that both are curves of one
    chart; the steps of the charts are epochs. See them with ``tensorboard --logdir <folder>``. Only files
    that this callback wrote are ever replaced.

    Args:
        folder: made if missing.

    Raises:
        ConfigError: tensorboard is not installed.
        OSError: the files cannot be written.

    Source: https://github.com/tensorflow/tensorboard, ``proto/event.proto`` and its record writer.
    """

    _suffix = ".xpnet"

    def __init__(self, folder: str | os.PathLike[str]):
        if importlib.util.find_spec("tensorboard") is None:
            raise ConfigError("logs for TensorBoard need tensorboard: pip install tensorboard")
        self.folder = Path(folder)
        self._files: dict[str, Path] = {}  # that of each part in this process

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        self.write(trainer.history)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        now = time.time()
        for part, scalars in _parts(row).items():
            if part not in self._files or not self._files[part].exists():
                self._write_part(part, list(trainer.history))
                continue
            with self._files[part].open("ab") as file:
                file.write(_record(_scalars_event(row["epoch"], now, scalars)))

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make the logs in the folder equal to ``rows``; epochs that were there keep their time."""
        rows = list(rows)
        for part in ("training", "validation"):
            self._write_part(part, rows)

    def _write_part(self, part: str, rows: list[Mapping[str, Any]]) -> None:
        folder = self.folder / part
        old = sorted(folder.glob(f"*events.out.tfevents.*{self._suffix}*"))  # temporary ones of a kill too
        times = {epoch: when for path in old for epoch, when in _times(path)}
        wanted = [(row, _parts(row)[part]) for row in rows if part in _parts(row)]
        if wanted:
            # TensorBoard reads the files of a folder in the order of their names
            path = folder / f"events.out.tfevents.{time.time_ns():020d}{self._suffix}"
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _opening(times) + b"".join(
                _record(_scalars_event(row["epoch"], times.get(row["epoch"], guess), scalars))
                for (row, scalars), guess in zip(wanted, _ends([row for row, _ in wanted]), strict=True)
            ))  # fmt: skip
            self._files[part] = path
        else:
            self._files.pop(part, None)
        for path in old:
            path.unlink(missing_ok=True)


def _parts(row: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the numbers of a row by part and name; what is no number is left out."""
    found: dict[str, dict[str, float]] = {}
    for name, value in row.items():
        part = "validation" if name.startswith("validation_") else "training"
        value = value if isinstance(value, float) else _plain(value)
        if name not in ("epoch", "step") and isinstance(value, (int, float)):
            found.setdefault(part, {})[name.removeprefix("validation_")] = float(value)
    return found


def _ends(rows: list[Mapping[str, Any]]) -> list[float]:
    """Return when each epoch will have ended if the last one ended now, in seconds since 1970."""
    later = itertools.accumulate((row.get("seconds") or 0.0 for row in reversed(rows[1:])), initial=0.0)
    now = time.time()
    return [now - seconds for seconds in later][::-1]


def _opening(times: Mapping[int, float]) -> bytes:
    """Return what a file begins with; where there was one before, a viewer is told to forget its epochs."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    now = time.time()
    opening = _record(Event(wall_time=now, file_version="brain.Event:2"))
    if times:
        start = SessionLog(status=SessionLog.START)
        opening += _record(Event(wall_time=now, step=min(times), session_log=start))
    return opening


def _scalars_event(epoch: int, when: float, scalars: Mapping[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
    return Event(wall_time=when, step=epoch, summary=Summary(value=values))


def _record(event: Any) -> bytes:
    """Return an event as TensorBoard's own record writer lays it out: length, data, checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    file = io.BytesIO()
    RecordWriter(file).write(event.SerializeToString())
    return file.getvalue()


def _times(path: Path) -> Iterator[tuple[int, float]]:
    """Yield the epochs in a file and when they ended; what a killed process left half-written ends it."""
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while at + 16 <= len(data):
        end = at + 16 + struct.unpack_from("<Q", data, at)[0]  # length, its checksum, data, their checksum
        if end > len(data):
            return
        try:
            event = Event.FromString(data[at + 12 : end - 4])
        except DecodeError:
            return
        if event.HasField("summary"):
            yield event.step, event.wall_time
        at = end
