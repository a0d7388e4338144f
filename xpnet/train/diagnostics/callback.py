"""The callback that measures layers while a network is trained, and warns."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xpnet import checks, rng
from xpnet.errors import ConfigError, because
from xpnet.files import append, open_regular, write_atomically
from xpnet.schema import NUMBER, TEXT, check, parse
from xpnet.train.callbacks import Callback
from xpnet.train.diagnostics.layer_measures import losses_of, measure
from xpnet.train.diagnostics.verdicts import judge
from xpnet.train.history import History
from xpnet.train.rows import Rows
from xpnet.train.steps import step_seconds
from xpnet.train.trainer import Trainer

__all__ = ["Diagnostics", "affordable", "first_verdicts", "read_rows"]

_log = logging.getLogger("xpnet")
_SYNC_SECONDS = 1.0
_POINT_CALLS = 16  # what the calls of a log point take, in those of a step: they are not compiled
_ROW = {
    "epoch": checks.whole(0),
    "layers": [{"layer": TEXT, ...: (None, NUMBER)}],
    "verdicts": [{"kind": TEXT, "layer": TEXT, "message": TEXT}],
}
_COLUMNS = (
    "layer", "weight_norm", "gradient_norm", "activation_rms", "dead", "saturated", "update_ratio",
)  # fmt: skip


def affordable(size: int, steps: int, batch: int, rows: int, *, share: float = 0.03, fewest: int = 4) -> int:
    """Return the number of log points that take at most a share of a training's time; some in any case.

    That is estimated from sizes, not measured, so that the same training always has the same log points.

    Args:
        size: number of parameters.
        steps: number of training steps in all.
        batch: rows of a step.
        rows: rows that are measured.
        share: of the training's time.
        fewest: returned if they take more.
    """
    point = _POINT_CALLS * step_seconds(0, 0) + step_seconds(size, rows) + step_seconds(size, batch)
    return max(fewest, int(share * steps * step_seconds(size, batch) / point))


class Diagnostics(Callback):
    """Measures gradients, activations and updates of each layer, and warns of faults.

    A log point is before the first epoch, after every ``every``-th one, and after the last. At each, one
    forward and backward pass goes over a fixed sample of the training rows, and one step over as many of them
    as a batch has; the numbers are copied to the host in one transfer, and training gives the same bits as
    without. Between log points nothing is done. See
    :class:`~xpnet.train.diagnostics.layer_measures.LayerMeasures` for the numbers, and
    :mod:`~xpnet.train.diagnostics.verdicts` for the rules.

    Each kind of verdict is logged once, as a warning of the logger ``"xpnet"``, when it first appears.

    Args:
        every: epochs between two log points.
        rows: how many training rows are measured; all of them if there are fewer.
        path: file to which each log point is appended as a line of JSON. A training that goes on, in the same
            process or in another, continues it; one that begins writes it anew. If it cannot be written any
            more, a warning says so and the training continues.

    Attributes:
        rows: one dict for each log point: ``epoch``; ``layers``, each with ``layer``, ``weight_norm``,
            ``gradient_norm``, ``activation_rms``, ``dead``, ``saturated`` and ``update_ratio`` (None for what
            does not apply or is not finite); and ``verdicts``, each with ``kind``, ``layer``, ``message``.

    Raises:
        ConfigError: counts below 1; when ``fit`` begins: the folder of ``path`` is missing.
        OSError: when ``fit`` begins: ``path`` cannot be written.

    Example:
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import two_gaussians_arrays
        >>> X, y = two_gaussians_arrays(n=200, seed=0)
        >>> diagnostics = Diagnostics(every=5)
        >>> model = nn.MLP([8], 2, weight_init="constant")
        >>> trainer = Trainer(model, "softmax_cross_entropy", backend="numpy", callbacks=[diagnostics])
        >>> _ = trainer.fit(X, y, epochs=10, batch_size=20)
        >>> [row["epoch"] for row in diagnostics.rows]
        [0, 5, 10]
        >>> [verdict["kind"] for verdict in diagnostics.verdicts]
        ['identical units']
    """

    def __init__(self, every: int = 1, rows: int = 256, path: str | os.PathLike[str] | None = None):
        self.every = checks.count("Diagnostics: every", every)
        self.sample = checks.count("Diagnostics: rows", rows)
        self.path = None if path is None else Path(path)
        self.rows: list[dict[str, Any]] = []
        self._epochs = 0
        self._measured_rows: tuple[Rows, Rows] | None = None
        self._writes = False
        self._synced = -math.inf

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """The verdicts, each kind where it first appeared, with its ``epoch``."""
        return first_verdicts(self.rows)

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        """Draw the sample, continue the rows of before, and measure if this is a log point."""
        self._epochs = epochs
        self._measured_rows = _sample(trainer, self.sample)
        self._continue(trainer.epoch)
        if self._is_due(trainer.epoch):
            self._take(trainer)

    def on_epoch_end(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Measure if this is a log point."""
        if self._is_due(trainer.epoch) or trainer.ending:
            self._take(trainer)

    def on_fit_end(self, trainer: Trainer, history: History) -> None:
        """Bring the file to the disk, and let go of the sample."""
        self._measured_rows = None
        if self._writes and self.rows:
            self._append("", sync=True)

    def _is_due(self, epoch: int) -> bool:
        taken = self.rows[-1]["epoch"] if self.rows else -1
        return epoch > taken and (epoch % self.every == 0 or epoch >= self._epochs)

    def _take(self, trainer: Trainer) -> None:
        assert self._measured_rows is not None  # on_fit_begin has drawn them
        assert trainer.fitting is not None
        rows, batch = self._measured_rows
        with trainer.fitting.steps.between_epochs(rows.X.shape[0]):
            measured = measure(trainer.setup, trainer.state.copy().go_on(), rows, batch)
        known = {verdict["kind"] for verdict in self.verdicts}
        verdicts = judge(measured, trainer.history.rows)
        train = trainer.fitting.rows
        if verdicts and train.X.shape[0] > rows.X.shape[0]:
            # a sample may lack the few rows that the network was there to learn, such as very large targets
            outputs = trainer.outputs(train.X)
            loss, constant = losses_of(trainer.setup, outputs, train)
            measured = dataclasses.replace(measured, loss=loss, constant_loss=constant)
            verdicts = judge(measured, trainer.history.rows)
        for verdict in verdicts:
            if verdict.kind not in known:
                when = f"after epoch {trainer.epoch}" if trainer.epoch else "before the first epoch"
                where = "" if verdict.layer == "loss" else f" in {verdict.layer}"
                _log.warning("%s%s, %s: %s", verdict.kind, where, when, verdict.message)
        layers = [{name: _finite(getattr(layer, name)) for name in _COLUMNS} for layer in measured.layers]
        found = [dataclasses.asdict(verdict) for verdict in verdicts]
        row = {"epoch": trainer.epoch, "layers": layers, "verdicts": found}
        self.rows.append(row)
        if self._writes:
            self._append(json.dumps(row) + "\n", sync=time.monotonic() >= self._synced + _SYNC_SECONDS)

    # --- the file ------------------------------------------------------------------------------------

    def _continue(self, epoch: int) -> None:
        """Keep the rows up to ``epoch``: later ones are of epochs that were lost, and are trained again."""
        if self.path is not None and not self.path.parent.is_dir():
            raise ConfigError(
                f"Diagnostics: path: expected a file in a folder that exists, found '{self.path}'; make "
                f"'{self.path.parent}'"
            )
        text = None
        if self.path is not None and self.path.exists():
            text = self.path.read_text(encoding="utf-8", errors="replace")
            self.rows = read_rows(self.path)
        self.rows = [row for row in self.rows if row["epoch"] <= epoch] if epoch else []
        if self.path is not None:
            kept = "".join(json.dumps(row) + "\n" for row in self.rows)
            if kept != text:
                write_atomically(self.path, kept)
            self._writes = True

    def _append(self, text: str, *, sync: bool) -> None:
        """Append to the file, so that it outlives the process, and with ``sync`` the machine."""
        try:
            append(self.path, text, make=False, flush=sync)  # type: ignore[arg-type]
            if sync:
                self._synced = time.monotonic()
        except OSError as error:
            self._writes = False
            _log.warning("diagnostics are not written any more: '%s': %s", self.path, because(error))


def first_verdicts(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the verdicts in rows, each kind where it first appeared, with its ``epoch``."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        for verdict in row["verdicts"]:
            first.setdefault(verdict["kind"], {"epoch": row["epoch"], **verdict})
    return list(first.values())


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the rows that :class:`Diagnostics` wrote, up to a line that a killed process has not finished.

    A file that does not exist has none.
    """
    file, rows = Path(path), list[dict[str, Any]]()
    if not file.exists():
        return rows
    with open_regular(file, follow=True) as lines:
        for line in lines:
            try:
                row = parse(line)
                check(row, _ROW)
            except ValueError:
                break
            if rows and row["epoch"] <= rows[-1]["epoch"]:
                break
            rows.append(row)
    return rows


def _sample(trainer: Trainer, size: int) -> tuple[Rows, Rows]:
    """Return the sample of the training rows, drawn from the seed, and its first rows as a batch."""
    assert trainer.fitting is not None  # for callbacks are called by a fit
    train, batches = trainer.fitting.rows, trainer.fitting.batches
    n, batch = train.X.shape[0], batches.size
    if n > size:
        order = rng.permutation(trainer.setup.key.fold("diagnostics"), n)[:size]
        train = train.take(trainer.backend.asarray(order))
    first = slice(0, batch)
    weight = None if train.weight is None else train.weight[first]
    return train, Rows(train.X[first, ...], train.y[first, ...], weight)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
