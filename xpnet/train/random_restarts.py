"""Several initializations trained, and the best of them kept."""

from __future__ import annotations

import dataclasses
import logging
import math
import statistics
from collections.abc import Callable, Iterable
from typing import Any

from xpnet import checks, rng
from xpnet.errors import ConfigError, DivergedError, Words, use
from xpnet.train.history import History
from xpnet.train.monitor import LOSS, Monitor
from xpnet.train.trainer import Trainer

__all__ = [
    "Restarts",
    "Spread",
    "all_diverged",
    "best_of",
    "cost_of",
    "restart_row",
    "restart_seed",
    "restarts",
    "spread_of",
    "warn_if_alike",
]

_log = logging.getLogger("xpnet")


@dataclasses.dataclass(frozen=True)
class Spread:
    """Spread of the losses of restarts, or of what else the trainer's ``monitor`` names.

    Attributes:
        count: how many restarts it is of: those that did not diverge.
        minimum, median, maximum: of their losses.
        standard_deviation: with n - 1 in the denominator; 0 for one restart.
    """

    count: int
    minimum: float
    median: float
    maximum: float
    standard_deviation: float

    def __str__(self) -> str:
        return (
            f"min {self.minimum:.4g}, median {self.median:.4g}, max {self.maximum:.4g}, standard deviation "
            f"{self.standard_deviation:.2g}"
        )


@dataclasses.dataclass(frozen=True)
class Restarts:
    """Result of several restarts.

    Attributes:
        trainer: the best of them, by the best epoch of each: that of the lowest validation loss, or as the
            trainer's ``monitor`` says; without validation rows by the training loss of the last epoch.
        table: a row for each restart: ``restart`` (from 1), ``seed``, ``outcome`` ("done", "diverged" or
            "interrupted"), ``epochs``, ``steps``, ``loss`` (training), ``validation_loss`` and, if it is
            another one, the monitored column (of the best epoch), ``best_epoch`` and ``seconds``. Losses of
            one that diverged are None.
        best: the row of the best.
        spread: of what they are compared by.
        interrupted: whether Ctrl-C ended them before the last.
    """

    trainer: Trainer
    table: History
    best: dict[str, Any]
    spread: Spread
    interrupted: bool = False


def restarts(
    trainer: Trainer | Callable[[int], Trainer],
    X: Any,
    y: Any,
    *,
    n: int,
    epochs: int,
    validation: Any = None,
    **fit: Any,
) -> Restarts:
    """Train ``n`` times from different initial weights and keep the best.

    Weights, batches and dropout masks differ; the rows are split alike. The first restart is what
    ``trainer.fit`` alone would have been. A restart that diverges is lost, which the log says; Ctrl-C ends
    the restarts, and what was best so far is returned, the interrupted one included if it has an epoch.

    Args:
        trainer: one that has not been trained, of which each restart trains a copy with a seed of its own;
            or a function from a seed to a new trainer.
        X, y: the rows, as for :meth:`Trainer.fit`.
        n: number of restarts.
        epochs: of each.
        validation, fit: the other arguments of :meth:`Trainer.fit`.

    Raises:
        DivergedError: all restarts diverged.
        ConfigError: ``n`` below 1, a trainer that has been trained, or what `fit` refuses.
        DataError: arrays that do not fit.

    Example:
        >>> from xpnet import Trainer, data, nn
        >>> from xpnet.train import restarts
        >>> X, y = data.two_gaussians_arrays(n=120, seed=0)
        >>> trainer = Trainer(nn.MLP([3], 2, activation="tanh"), "softmax_cross_entropy", backend="numpy")
        >>> found = restarts(trainer, X, y, n=3, epochs=5, batch_size=10, validation=0.25)
        >>> found.spread.minimum == found.best["validation_loss"] == found.trainer.best.loss
        True

    Source: lecture note 004, "it was common to try multiple initializations and pick the best".
    """
    n = checks.count("n", n)
    if not callable(trainer) and not isinstance(trainer, Trainer):
        raise ConfigError(
            f"restarts: expected a trainer, or a function from a seed to one, found {trainer!r}; "
            "pass a Trainer"
        )
    base = trainer.settings.seed if isinstance(trainer, Trainer) else 0
    make = _copies_of(trainer) if isinstance(trainer, Trainer) else trainer
    shape: tuple[int, ...] | None = None
    rows: list[dict[str, Any]] = []
    kept: Trainer | None = None
    interrupted = False
    for number in range(1, n + 1):
        one = make(restart_seed(base, number))
        if number == 2:
            warn_if_alike(one, rows[0]["seed"], shape)
        if one.settings.split_seed is None:
            one.setup = one.setup.changed(split_seed=base)
        outcome = "done"
        try:
            one.fit(X, y, epochs=epochs, validation=validation, **fit)
        except DivergedError as error:
            outcome = "diverged"
            _log.warning("restart %d of %d is lost: %s", number, n, error)
        except KeyboardInterrupt:
            if not one.epoch and kept is None:
                raise
            outcome, interrupted = "interrupted", True
            _log.warning("interrupted in restart %d of %d; the best so far is kept", number, n)
        shape = one.input_shape
        row = restart_row(number, one, outcome)
        rows.append(row)
        if math.isfinite(cost_of(row, one.setup.monitor)) and best_of(rows, one.setup.monitor) is row:
            kept = one
        if interrupted:
            break
    if kept is None:
        raise all_diverged(rows)
    monitor = kept.setup.monitor
    return Restarts(kept, History(rows), best_of(rows, monitor), spread_of(rows, monitor), interrupted)


def restart_seed(seed: int, number: int) -> int:
    """Return the seed of a restart: of the first ``seed`` itself, of later ones a number drawn from it.

    >>> restart_seed(7, 1), restart_seed(7, 2) == restart_seed(7, 3)
    (7, False)
    """
    return seed if number == 1 else int(rng.key(seed).fold("restart", number).words[0])


def restart_row(number: int, trainer: Trainer, outcome: str) -> dict[str, Any]:
    """Return the row of a restart in the table of them."""
    lost = outcome == "diverged" or not len(trainer.history)
    best, monitor = None if lost else trainer.best, trainer.setup.monitor
    held_out = dict.fromkeys((LOSS, monitor.name))
    if not lost and LOSS in trainer.history.rows[-1]:
        worst = {LOSS: math.inf, monitor.name: monitor.worst}  # without an epoch that is finite
        found = None if best is None else trainer.history.row_of(best.epoch)
        held_out = {name: worst[name] if found is None else found[name] for name in worst}
    return {
        "restart": number,
        "seed": trainer.settings.seed,
        "outcome": outcome,
        "epochs": trainer.epoch,
        "steps": trainer.step,
        "loss": None if lost else trainer.history.rows[-1]["loss"],
        **held_out,
        "best_epoch": None if best is None else best.epoch,
        "seconds": round(sum(row["seconds"] for row in trainer.history), 3),
    }


def _judge(row: dict[str, Any], monitor: Monitor) -> Monitor:
    """Return what a restart is judged by: the training loss where there are no validation rows."""
    return Monitor("loss") if row[monitor.name] is None else monitor


def cost_of(row: dict[str, Any], monitor: Monitor) -> float:
    """Return the cost by which a restart is judged, the lower the better; infinite if it diverged."""
    cost = _judge(row, monitor).cost(row)
    return math.inf if cost is None else cost


def best_of(rows: Iterable[dict[str, Any]], monitor: Monitor) -> dict[str, Any]:
    """Return the row of the best restart, of equal ones the first."""
    return min(rows, key=lambda row: cost_of(row, monitor))


def spread_of(rows: Iterable[dict[str, Any]], monitor: Monitor) -> Spread:
    """Return the spread of what restarts are judged by; one at least must not be lost."""
    values = [row[_judge(row, monitor).name] for row in rows if math.isfinite(cost_of(row, monitor))]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return Spread(len(values), min(values), statistics.median(values), max(values), deviation)


def all_diverged(rows: list[dict[str, Any]]) -> DivergedError:
    """Return the error for restarts none of which is left."""
    first = rows[0]
    return DivergedError(
        f"all {len(rows)} restarts diverged, the first in epoch {first['epochs'] + 1}; lower the learning "
        "rate, set clip_norm, or check the data's scale",
        epoch=first["epochs"] + 1,
        step=first["steps"],
    )


def _copies_of(trainer: Trainer) -> Callable[[int], Trainer]:
    if trainer.variables is not None:
        raise ConfigError(
            f"restarts: expected a trainer that has not been trained, found one after epoch {trainer.epoch}; "
            "make a new one"
        )

    def make(seed: int) -> Trainer:
        one = trainer.clone()
        one.setup = one.setup.changed(seed=seed)
        return one

    return make


def warn_if_alike(trainer: Trainer, other_seed: int, input_shape: tuple[int, ...] | None) -> None:
    """Log a warning if the model begins with the same weights whatever the seed."""
    if input_shape is None:
        return
    one, other = (
        trainer.model.init(seed, input_shape, "numpy", trainer.setup.dtype).params.flat
        for seed in (trainer.settings.seed, other_seed)
    )
    if bool((one == other).all()):
        _log.warning(
            Words(
                "restarts do not help here: the model begins with the same weights whatever the seed; choose "
                f"an initializer that draws them, such as {use('weight_init', 'glorot_uniform')}"
            )
        )
