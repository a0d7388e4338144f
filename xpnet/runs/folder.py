"""Run folders: the files that a training leaves behind, and how other commands find them."""

from __future__ import annotations

import contextlib
import csv
import datetime
import difflib
import hashlib
import io
import logging
import os
import re
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from xpnet.data import Encoder, Summary
from xpnet.errors import CheckpointError, ConfigError, because, call, use
from xpnet.files import flush_folder, linked_parts, open_regular, read_regular, write_atomically
from xpnet.runs.formats import COLUMNS, ENVIRONMENT, RESULTS
from xpnet.runs.settings import Settings, read_toml, to_toml
from xpnet.schema import DAMAGE, parse, read_json
from xpnet.text import to_json
from xpnet.train.checkpoint_callback import checkpoint_name, numbered

__all__ = ["CHECKPOINTS", "RunFolder", "identity"]

CHECKPOINTS = ("final", "best", "last")
"""Names of checkpoints; to predict with, the first that there is."""

_log = logging.getLogger("xpnet.runs")
_RESTART_COLUMNS: dict[str, Callable[[str], Any]] = {
    "restart": int, "seed": int, "outcome": str, "epochs": int, "steps": int,
    "loss": float, "validation_loss": float, "best_epoch": int, "seconds": float,
}  # fmt: skip
_ALWAYS = ("seed", "outcome", "epochs", "steps", "seconds")


class RunFolder:
    """A run folder and the files in it.

    ``config.toml`` holds the settings with everything resolved; ``environment.json`` versions, machine,
    device and the table's fingerprint; ``encoder.json`` how the table becomes arrays; ``columns.json`` what
    its columns are and what was decided about them; ``history.csv`` and ``history.jsonl`` a row for each
    epoch, ``tensorboard/`` the same for TensorBoard, if wished; ``diagnostics.jsonl`` what was measured in
    the layers; ``checkpoints/`` the last and the best weights, the final ones, which were trained with the
    validation rows as well, and numbered ones; ``train.log`` what was said; ``results.json`` the results,
    once the training has finished; ``restarts.csv`` a row for each restart that is over, and ``restarts/``
    the one that is under way; ``figures/`` the pictures; ``report.html`` all of it on a page;
    ``pruning.json``, of a pruned network, what it was made of, and how far the pruning is.
    """

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.toml"
        self.environment = path / "environment.json"
        self.encoder = path / "encoder.json"
        self.columns = path / "columns.json"
        self.history = path / "history.csv"
        self.history_lines = path / "history.jsonl"
        self.tensorboard = path / "tensorboard"
        self.diagnostics = path / "diagnostics.jsonl"
        self.log = path / "train.log"
        self.results = path / "results.json"
        self.pruning = path / "pruning.json"
        self.restarts = path / "restarts.csv"
        self.parts = path / "restarts"
        self.report = path / "report.html"
        self.figures = path / "figures"
        self.checkpoints = path / "checkpoints"
        self.made = False  # by this process
        self._identity: tuple[int, int] | None = None  # of the folder that was made or opened

    def check_same(self) -> None:
        """Raise a `CheckpointError` if the folder is gone, or another one is in its place.

        So nothing is written into a folder of somebody else, and no part of one is made anew.
        """
        try:
            found = identity(self.path)
        except OSError:
            found = None
        if found is None or self._identity not in (None, found):
            how = "gone: it was removed or renamed" if found is None else "another one: it was replaced"
            raise CheckpointError(
                f"the run folder '{self.path}' is {how} during the training, and nothing can be saved in it; "
                f"{self._continued_elsewhere()}"
            )

    def _continued_elsewhere(self) -> str:
        """Return how a training goes on whose folder is not where it was."""
        elsewhere = None
        with contextlib.suppress(OSError):
            beside = [path for path in self.path.parent.iterdir() if path.is_dir()]
            elsewhere = next((RunFolder(path) for path in beside if identity(path) == self._identity), None)
        if elsewhere is None:
            return "if it was moved, resume the training where the folder is now, or else train anew"
        how = "resume_pruning" if elsewhere.pruning.is_file() else "resume"
        return f"it is '{elsewhere.path}' now: continue with {call(how, elsewhere.path)}"

    def checkpoint(self, name: str | int) -> Path:
        """Return the path of the checkpoint ``best`` or ``last``, or of a numbered one."""
        file = checkpoint_name(name) if isinstance(name, int) else f"{name}.safetensors"
        return self.checkpoints / file

    @classmethod
    def plan(cls, out: str | None, data: str) -> RunFolder:
        """Return a run folder that can be made; nothing is written yet.

        Args:
            out: where the user wants it; None takes ``runs/<name>-<date>-<time>``.
            data: the table, whose name the folder takes.

        Raises:
            ConfigError: ``out`` is there already and is not an empty folder.
        """
        if out is not None:
            path = Path(out)
            run = cls(path)
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                is_run = run.config.is_file()
                other = f", or continue the run in it with: {call('resume', out)}" if is_run else ""
                raise ConfigError(
                    f"{use('out')}: '{out}' is there already and is never overwritten; choose another "
                    f"folder{other}"
                )
            return run
        name = re.sub(r"[^\w.-]+", "-", Path(data).stem)[:40] or "run"
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        return cls(Path("runs") / f"{name}-{stamp}")

    def make(self, *, chosen: bool) -> None:
        """Make the folder; one not chosen by the user gets a number where its name is taken.

        Raises:
            ConfigError: the folder has been filled meanwhile, or cannot be made.
        """
        base, number = self.path, 1
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while True:
                try:
                    self.path.mkdir()
                    break
                except FileExistsError:
                    if chosen:
                        if self.path.is_dir() and not any(self.path.iterdir()):
                            break
                        raise
                    number += 1
                    self.__init__(base.with_name(f"{base.name}-{number}"))  # type: ignore[misc]
            self.figures.mkdir()
            self.checkpoints.mkdir()
            flush_folder(self.path.parent)
            self.made, self._identity = True, identity(self.path)
        except OSError as error:
            raise ConfigError(
                f"{use('out')}: the run folder '{self.path}' cannot be made ({error.strerror}); choose "
                "another"
            ) from error

    @classmethod
    def open(cls, path: str) -> RunFolder:
        """Return an existing run folder.

        A folder may come from a stranger: nothing in it may be a symbolic link, through which something else
        would be read or written. Hard links are read as any file, and refused where something is written
        (`hold`).

        Raises:
            CheckpointError: there is none at ``path``, or a part of it is a link, a FIFO or a device.
        """
        run = cls(Path(path))
        if os.path.lexists(run.config):
            run._identity = identity(run.path)
            for part, what in linked_parts(run._all_parts(), hard=False):
                raise CheckpointError(
                    f"'{part}' is {what}; a run folder consists of files and folders of its own: copy "
                    "what it links to, or get the folder from whoever trained it"
                )
            return run
        if not os.path.isdir(run.path):
            parent = run.path.parent
            others = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
            near = difflib.get_close_matches(run.path.name, others, n=1)
            hint = "name it as it is called now, if it was renamed or moved; training makes one"
            if near:
                hint = f"did you mean '{parent / near[0]}'?"
            raise CheckpointError(f"there is no run folder '{path}'; {hint}")
        if (run.path / "tuning.json").is_file():
            best = run.path / "best"
            raise CheckpointError(
                f"'{path}' is a search and no run; the run of its best settings is '{best}'"
            )
        raise CheckpointError(f"'{path}' is no run folder: it has no config.toml")

    def _all_parts(self) -> list[Path]:
        return [path for path in vars(self).values() if isinstance(path, Path) and path != self.path]

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Inside this context no other process can train in this folder; its end, by a kill too, frees it.

        Raises:
            CheckpointError: another process does, or files in the folder are hard links, whose other names
                would be written to as well.
        """
        for part, what in linked_parts(self._all_parts()):
            raise CheckpointError(
                f"'{part}' is {what}, which training further would change as well; train a copy of the "
                f"folder in which no file is a link: cp -r {shlex.quote(str(self.path))} COPY"
            )
        try:
            import fcntl
        except ImportError:  # a system without such locks
            yield
            return
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(
                    f"the run '{self.path}' is being trained by another process; let it end, or stop it"
                ) from None
            except OSError as error:
                _log.warning(
                    "the file system of '%s' has no locks (%s): nothing keeps another process from training "
                    "in this folder; see to it that none does",
                    self.path,
                    because(error),
                )
            yield
        finally:
            os.close(handle)

    def discard(self) -> None:
        """Remove what `make` and the first writing made, where nothing could be saved.

        No other file is touched: a folder in which the user has put something stays.
        """
        try:
            self.check_same()
        except CheckpointError:
            return
        if not self.made:
            return
        files = (
            self.log, self.diagnostics, self.config, self.environment, self.encoder, self.columns,
            self.pruning, *self.rounds(),
        )  # fmt: skip
        with contextlib.suppress(OSError):
            for path in files:
                path.unlink(missing_ok=True)
            parts = (*self.parts.glob("*/checkpoints"), *self.parts.glob("*"), self.parts)
            for folder in (*parts, self.figures, self.checkpoints, self.path):
                if folder.is_dir():
                    folder.rmdir()

    def sweep(self) -> None:
        """Remove temporary files, which a killed process leaves behind."""
        parts = (*self.parts.glob("*"), *self.parts.glob("*/checkpoints"))
        for folder in (self.path, self.figures, self.checkpoints, *parts):
            for path in folder.glob(".*.tmp"):
                with contextlib.suppress(OSError):
                    path.unlink()
        if self.results.exists():
            for path in self.rounds():
                path.unlink(missing_ok=True)

    def give_up_after(self, epoch: int) -> None:
        """Remove the numbered checkpoints of later epochs: the training has gone back to ``epoch``."""
        for later in numbered(self.checkpoints):
            if later > epoch:
                with contextlib.suppress(OSError):
                    self.checkpoint(later).unlink()

    def restart(self, number: int) -> RunFolder:
        """Return the part of the folder in which a restart is trained; nothing is made."""
        part = RunFolder(self.path)
        part._identity = self._identity
        folder = self.parts / f"{number:03d}"
        part.checkpoints, part.tensorboard = folder / "checkpoints", folder / "tensorboard"
        part.history, part.history_lines = folder / "history.csv", folder / "history.jsonl"
        part.diagnostics = folder / "diagnostics.jsonl"
        return part

    def adopt(self, part: RunFolder) -> None:
        """Make checkpoints and history of a restart those of the run; can be repeated if cut short."""
        kept = {path.name for path in part.checkpoints.glob("*.safetensors")}
        for name in sorted(kept):
            _copy(part.checkpoints / name, self.checkpoints / name)
        for path in self.checkpoints.glob("*.safetensors"):
            if path.name not in kept:
                path.unlink()
        _copy(part.history, self.history)
        _copy(part.history_lines, self.history_lines)
        if part.tensorboard.is_dir():
            shutil.rmtree(self.tensorboard, ignore_errors=True)
            shutil.copytree(part.tensorboard, self.tensorboard)
        if part.diagnostics.is_file():
            _copy(part.diagnostics, self.diagnostics)

    def read_restarts(self) -> list[dict[str, Any]]:
        """Return the rows of the restarts that are over.

        Raises:
            CheckpointError: ``restarts.csv`` is damaged.
        """
        if not self.restarts.is_file():
            return []
        try:
            lines = io.StringIO(read_regular(self.restarts).decode(), newline="")
            rows = [
                {name: _RESTART_COLUMNS.get(name, float)(x) if x else None for name, x in row.items()}
                for row in csv.DictReader(lines, strict=True)
            ]
            for number, row in enumerate(rows, 1):
                if (
                    not row.keys() >= _RESTART_COLUMNS.keys()  # what is monitored may be one more
                    or row["restart"] != number
                    or None in map(row.get, _ALWAYS)
                ):
                    raise ValueError(f"row {number} is not that of restart {number}")
        except (OSError, csv.Error, *DAMAGE) as error:
            raise CheckpointError(f"'{self.restarts}' is damaged: {error!r}; train anew") from error
        return rows

    def restarts_sha256(self) -> str:
        """Return the SHA-256 of ``restarts.csv``, to which the restart under way is bound."""
        content = self.read(self.restarts) if self.restarts.exists() else b""
        return hashlib.sha256(content).hexdigest()

    def rounds(self) -> list[Path]:
        """Return the checkpoints of the rounds of a pruning, which are there until it is finished."""
        return list(self.checkpoints.glob("round-*.safetensors"))

    def check_whole(self) -> None:
        """Raise a `ConfigError` for a pruning that was interrupted, which is no whole network yet."""
        if self.rounds() and not self.results.exists():
            raise ConfigError(
                f"the run '{self.path}' is a pruning that was interrupted; continue it with: "
                f"{call('resume_pruning', self.path)}"
            )

    def has_begun(self) -> bool:
        """Whether anything has been trained, or at least saved."""
        if self.restarts.exists() or any(self.parts.glob("*/checkpoints/last.safetensors")):
            return True
        return self.history.exists() or any(self.checkpoint(name).exists() for name in CHECKPOINTS)

    def write_settings(self, settings: Settings) -> None:
        """Write ``config.toml``."""
        write_atomically(self.config, to_toml(settings))

    def read_settings(self) -> Settings:
        """Return the settings of the run.

        Raises:
            CheckpointError: ``config.toml`` has been damaged.
        """
        try:
            return Settings(**read_toml(self.config, follow=False))
        except ConfigError as error:
            raise CheckpointError(f"the run's configuration cannot be used: {error.text}") from error

    def read(self, path: Path) -> bytes:
        """Return the content of a file of the run, or raise a `CheckpointError`."""
        try:
            return read_regular(path)
        except OSError as error:
            raise CheckpointError(f"'{path}' cannot be read: {because(error)}") from error

    def read_encoder(self, content: bytes) -> Encoder:
        """Return the encoder that ``encoder.json`` holds.

        Raises:
            CheckpointError: it is damaged or too new.
        """
        try:
            return Encoder.from_json(parse(content))
        except (CheckpointError, ValueError) as error:
            raise CheckpointError(f"'{self.encoder}' is damaged or too new: {error}") from error

    def read_environment(self) -> dict[str, Any]:
        """Return what ``environment.json`` holds, or raise a `CheckpointError`."""
        return dict(read_json(self.environment, ENVIRONMENT))

    def write_summary(self, summary: Summary) -> None:
        """Write ``columns.json``."""
        write_atomically(self.columns, to_json(summary.to_json()))

    def read_summary(self) -> Summary | None:
        """Return what ``columns.json`` holds, None without one, or raise a `CheckpointError`."""
        if not self.columns.is_file():
            return None
        return Summary.from_json(read_json(self.columns, COLUMNS))

    def read_results(self) -> dict[str, Any]:
        """Return what ``results.json`` holds, or raise a `CheckpointError`."""
        return dict(read_json(self.results, RESULTS))

    def find_checkpoint(self, name: str | None, usual: Sequence[str] = CHECKPOINTS) -> Path:
        """Return the path of a checkpoint.

        Args:
            name: final, best, last, or an epoch such as ``epoch-50`` or ``50``.
            usual: names of which None takes the first that there is.

        Raises:
            ConfigError: no such name.
            CheckpointError: the run has no such checkpoint.
        """
        wanted: list[str | int] = list(usual)
        if name is not None:
            match = re.fullmatch(r"(?:epoch-)?(\d{1,18})", name, re.ASCII)
            if match is None and name not in CHECKPOINTS:
                raise ConfigError(
                    f"{use('checkpoint')}: expected final, best or last, or an epoch such as epoch-50, found "
                    f"{name!r}"
                )
            wanted = [int(match[1]) if match else name]
        for one in wanted:
            if self.checkpoint(one).is_file():
                return self.checkpoint(one)
        kept = [f"epoch-{epoch}" for epoch in numbered(self.checkpoints)]
        if isinstance(wanted[-1], int) and self.checkpoint("last").is_file():
            raise CheckpointError(
                f"the run '{self.path}' has no checkpoint of epoch {wanted[-1]}; there are: "
                f"{', '.join([*CHECKPOINTS[1:], *kept])} (train with {use('save_every')} to keep more)"
            )
        raise CheckpointError(
            f"the run '{self.path}' has no checkpoint '{wanted[-1]}': it ended before one was saved, "
            "or the file is gone; train anew"
        )


def identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from another one of its name."""
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _copy(source: Path, target: Path) -> None:
    with open_regular(source) as file:
        write_atomically(target, lambda out: shutil.copyfileobj(file, out))
