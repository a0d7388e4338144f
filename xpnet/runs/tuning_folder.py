"""Folder of a search: its settings, its trials, and the run of the best; nothing in it can run code."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import checks
from xpnet.errors import CheckpointError, ConfigError, because, call, use
from xpnet.files import linked_parts, read_regular, write_atomically
from xpnet.runs.folder import RunFolder
from xpnet.runs.formats import TUNING
from xpnet.schema import NUMBER, TEXT, check, parse, read_json
from xpnet.text import to_json

if TYPE_CHECKING:
    import polars

__all__ = ["OUTCOMES", "Row", "TuningFolder"]

OUTCOMES = ("done", "time limit", "pruned", "diverged", "out of memory")
"""How a trial may end; the first two are compared."""

Row = dict[str, Any]

_OR_NULL = (None, NUMBER)
_TRIAL = {
    "trial": checks.count,
    "outcome": checks.one_of(*OUTCOMES),
    "score": _OR_NULL,
    "best_epoch": (None, checks.count),
    "epochs": checks.whole(0),
    "seconds": NUMBER,
    "parameters": {...: (checks.flag, NUMBER, TEXT)},
    "values": [_OR_NULL],
}


class TuningFolder:
    """A folder of a search and the files in it.

    ``tuning.json`` holds the settings that are fixed, the length of the search and the table's fingerprint;
    ``trials.jsonl`` a line for each trial that is over, from which a search goes on; ``trials.csv`` the same
    as a table; ``best/`` the run of the best settings; ``results.json`` and ``report.html`` the results, once
    the search is finished.
    """

    def __init__(self, path: Path):
        self.path = path
        self.about = path / "tuning.json"
        self.trials = path / "trials.jsonl"
        self.table = path / "trials.csv"
        self.results = path / "results.json"
        self.report = path / "report.html"
        self.best = RunFolder(path / "best")

    @classmethod
    def plan(cls, out: str | None, data: str) -> TuningFolder:
        """Return a folder that can be made; nothing is written yet.

        Raises:
            ConfigError: ``out`` is there already and is not an empty folder.
        """
        if out is not None and cls(Path(out)).is_there():
            raise ConfigError(
                f"{use('out')}: '{out}' is a search already, which is never overwritten; choose another "
                f"folder, or continue it with: {call('resume_tuning', None, out)}"
            )
        path = RunFolder.plan(out, data).path
        return cls(path if out is not None else path.with_name(f"{path.name}-tuning"))

    @classmethod
    def open(cls, path: str) -> TuningFolder:
        """Return the folder of a search, or raise a `CheckpointError` if it is none."""
        folder = cls(Path(path))
        if not folder.is_there():
            raise CheckpointError(f"'{path}' is no folder of a search: it has no {folder.about.name}")
        return folder

    def is_there(self) -> bool:
        """Whether the folder is that of a search."""
        return self.about.is_file()

    def make(self, about: Mapping[str, Any]) -> None:
        """Make the folder, with what the search is."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.iterdir()):  # filled meanwhile
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
            write_atomically(self.about, to_json(about))
        except OSError as error:
            raise ConfigError(
                f"{use('out')}: the folder '{self.path}' cannot be made ({because(error)}); choose another"
            ) from error

    def discard(self) -> None:
        """Remove a folder in which no trial is over."""
        with contextlib.suppress(OSError):
            self.about.unlink(missing_ok=True)
            self.path.rmdir()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Inside this context no other process can search in this folder.

        Raises:
            CheckpointError: another process does, or a part of the folder is a link.
        """
        parts = [self.about, self.trials, self.table, self.results, self.report, self.best.path]
        for part, what in linked_parts(parts):
            raise CheckpointError(
                f"'{part}' is {what}, and a search consists of files of its own; copy what it links to"
            )
        with RunFolder(self.path).hold():
            yield

    def read_about(self) -> dict[str, Any]:
        """Return what ``tuning.json`` holds, or raise a `CheckpointError`."""
        return dict(read_json(self.about, TUNING))

    def read_rows(self) -> list[Row]:
        """Return the rows of the trials that are over.

        Raises:
            CheckpointError: ``trials.jsonl`` is damaged.
        """
        if not self.trials.exists():
            return []
        try:
            rows = [parse(line) for line in read_regular(self.trials).splitlines()]
            for number, row in enumerate(rows, 1):
                check(row, _TRIAL, f"line {number}")
                if row["trial"] != number:
                    raise ValueError(f"line {number}: expected trial {number}, found {row['trial']}")
                if row["score"] is None and row["outcome"] in ("done", "pruned"):
                    raise ValueError(f"line {number}: expected a score, found none")
        except OSError as error:
            raise CheckpointError(f"'{self.trials}' cannot be read: {because(error)}") from error
        except ValueError as error:
            raise CheckpointError(f"'{self.trials}' is damaged: {error}; search anew") from error
        return rows

    def write_rows(self, rows: Sequence[Row], table: polars.DataFrame) -> None:
        """Write the rows of the trials that are over, and the table of them."""
        text = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
        write_atomically(self.trials, text)
        write_atomically(self.table, table.write_csv())

    def sweep(self) -> None:
        """Remove what a killed process left behind: temporary files, and a best run that has not begun."""
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        if self.best.path.is_dir() and not self.best.config.exists():
            shutil.rmtree(self.best.path, ignore_errors=True)
