"""Pruning with retraining: the L0 regularization of lecture note 004 as a computational procedure."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from xpnet.containers import map_leaves
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.prune.masks import count_weights, magnitude_mask
from xpnet.prune.plan import Plan, epochs_of_round
from xpnet.prune.report import Profile, Report, profile, timed
from xpnet.prune.units import hidden_widths, remove_units
from xpnet.train import History, Trainer, metrics
from xpnet.train.rows import Rows, split

__all__ = ["Pruned", "prune"]

_TARGET, _ASKED = "the target is reached", "as on_round asked for"
_log = logging.getLogger("xpnet")


@dataclasses.dataclass
class Pruned:
    """Result of a pruning, or its state between two rounds.

    Attributes:
        trainer: the one that was given, pruned.
        rounds: a row for each round, and one numbered 0 for the network before: ``round``; ``sparsity``,
            the share of the weights (hidden units) that are gone; ``nonzero``, the number of weights that are
            not 0; ``widths`` of the hidden layers, with scope ``"unit"``; ``epoch``, the last one trained;
            ``pruned`` and ``retrained``, loss and metrics before and after retraining, on the validation
            rows or else on the training rows; ``kept``, False for a round that was taken back.
        before, after: what the network was worth and cost; ``after`` is None until the end.
        stopped: why it ended, or ``""`` as long as it has not.
        reached: whether the sparsity that was asked for is reached.
    """

    trainer: Trainer
    rounds: list[dict[str, Any]]
    before: Profile
    after: Profile | None = None
    stopped: str = ""
    reached: bool = False

    @property
    def sparsity(self) -> float:
        """The share of the weights (hidden units) that are gone."""
        return [row["sparsity"] for row in self.rounds if row["kept"]][-1]

    @property
    def missed(self) -> str:
        """Why the target is not reached, in words; ``""`` if it is, or ``on_round`` ended the pruning."""
        if self.reached or self.stopped in ("", _ASKED):
            return ""
        last = self.rounds[-1]
        found = f"pruning ended at a sparsity of {self.sparsity:.1%}, before its target: {self.stopped}"
        if last["kept"]:
            return found
        return f"{found}, which was taken back; a larger tolerance or a longer retraining may lead further"

    @property
    def report(self) -> Report:
        """Before and after side by side, for printing.

        Raises:
            ConfigError: the pruning has not ended.
        """
        if self.after is None:
            raise ConfigError(
                "report: expected a pruning that has ended, found one in progress; wait for its end"
            )
        return Report(self.before, self.after)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the trainer as plain JSON data, from which ``prune(..., resume=...)`` goes on."""
        return {
            "rounds": [dict(row) for row in self.rounds],
            "before": self.before.to_dict(),
            "after": None if self.after is None else self.after.to_dict(),
            "stopped": self.stopped,
            "reached": self.reached,
        }

    @classmethod
    def from_dict(cls, trainer: Trainer, values: Mapping[str, Any]) -> Pruned:
        """Return what `to_dict` wrote, around the trainer that was saved with it."""
        after = values["after"]
        return cls(
            trainer,
            [dict(row) for row in values["rounds"]],
            Profile.from_dict(values["before"]),
            None if after is None else Profile.from_dict(after),
            values["stopped"],
            values.get("reached", values["stopped"] == _TARGET),
        )


def prune(
    trainer: Trainer,
    X: Any,
    y: Any,
    *,
    sparsity: float,
    rounds: int = 10,
    epochs_per_round: int | None = None,
    scope: str = "normalized",
    schedule: str = "cubic",
    criterion: str | Callable[..., Any] = "norm",
    decay: bool = False,
    restart: bool | None = None,
    validation: float | Sequence[Any] | None = None,
    tolerance: float | str | None = "auto",
    monitor: str | None = None,
    batch_size: int | str | None = "auto",
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | str | None = None,
    test: tuple[Any, Any] | None = None,
    on_round: Callable[[Pruned], bool | None] | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Pruned:
    """Prune a trained network in rounds, and retrain it in each, so that it stays as good as it was.

    In round k of R the sparsity rises to s(k/R), the weights of smallest magnitude in their layer become 0
    and stay so (:func:`magnitude_mask`, ``trainer.mask``), and the rest is trained for some epochs with the
    trainer's own settings, on which its patience and its best weights begin anew. It ends at the target, or
    at the first round after which the validation rows suffer by more than ``tolerance``: that round is taken
    back, and a warning says that the target is not reached.

    Args:
        trainer: one that has been trained. It is pruned itself: save it before, to keep the dense network.
        X, y, batch_size, validation, sample_weight, class_weight: as for :meth:`Trainer.fit`.
        sparsity: share of the weights that are 0 at the end; with scope ``"unit"`` share of the hidden units
            that are removed. At least 0 and below 1.
        rounds: number R of rounds.
        epochs_per_round: epochs of retraining in each; patience may end them early. ``max_steps`` does not
            count here. None: 20, or as many as are 400 steps.
        scope: ``"normalized"`` ranks all weights together by their share of their matrix, ``"global"`` by
            their magnitude alone, and ``"layer"`` prunes the same share of each matrix
            (:func:`magnitude_mask`); each output keeps two paths to the inputs. ``"unit"`` removes whole
            hidden units, the same share of each layer, which leaves smaller dense matrices
            (:func:`prune_units`); two units of each layer stay.
        schedule: how sparsity rises: ``"cubic"`` (Zhu and Gupta), ``"geometric"`` (Han et al.) or
            ``"linear"``; see :mod:`xpnet.prune.schedules`.
        criterion: for scope ``"unit"``, what tells the units that matter least; see :func:`prune_units`.
        decay: whether the weights that a round of E epochs removes fade away: before epoch e they are
            multiplied by (E - e) / (E - e + 1), so that by this alone they are w (1 - e/E). Before the last
            epoch they are 0. Otherwise they are 0 from the first epoch on.
        restart: whether each round begins with a fresh state of the optimizer, and with it at the beginning
            of the learning rate's schedule, which should then span a round (Renda et al., 2020). By default
            so if there is a schedule, whose end may lie behind, and for methods of second order, which know
            the curvature of the network before; a constant rate goes on better as it is.
        tolerance: by how much ``monitor`` may be worse on the validation rows (without any: on the training
            rows), after retraining, than it was before all rounds; of a loss, MAE or RMSE, by which share of
            what it was. ``"auto"``: by the share of one row, but at least 0.02 and at most 0.1.
            None: by any amount.
        monitor: ``"loss"``, or one of the trainer's metrics, of which, but for MAE and RMSE, more is better.
            By default accuracy or R², whichever suits the targets that the loss declares; else the loss.
        test: rows (X, y) for the report; by default those of the validation, else the training rows.
        on_round: called with the pruning so far, before the first round and after each one that is kept;
            returning True ends it.
        resume: what ``to_dict`` gave after a round of an earlier call with the same arguments, the trainer
            being as it was then: goes on with the next round, and gives the same as if never interrupted.

    Returns:
        The rounds, and a report of quality, memory and time before and after.

    Raises:
        ConfigError: settings that contradict each other or the trainer.
        DataError: arrays that do not fit.
        DivergedError: retraining diverged.

    Whatever ends it early (divergence, Ctrl-C, an error in a callback), the trainer is left as it was after
    the last whole round.

    Example:
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import two_gaussians_arrays
        >>> X, y = two_gaussians_arrays(n=200, seed=0)
        >>> trainer = Trainer(nn.MLP([16], 2), "softmax_cross_entropy", backend="numpy", metrics=["accuracy"])
        >>> history = trainer.fit(X, y, epochs=20, batch_size=20)
        >>> pruned = prune(trainer, X, y, sparsity=0.75, rounds=3, epochs_per_round=5, batch_size=20)
        >>> [row["nonzero"] for row in pruned.rounds]
        [64, 30, 18, 16]
        >>> print(str(pruned.report).splitlines()[4].split()[-3:])
        ['64', '16', '-75.0%']

    Sources: lecture note 004, homework 3; Han et al., "Learning both weights and connections for efficient
    neural networks", 2015; Zhu and Gupta, "To prune, or not to prune", 2017; Renda et al., "Comparing
    rewinding and fine-tuning in neural network pruning", 2020.
    """
    plan = Plan(
        sparsity, rounds, epochs_per_round, scope, schedule, criterion, decay, restart, tolerance, monitor
    )
    plan.check_fits(trainer, begun=resume is not None)
    train, held_out = split(
        trainer.setup, X, y, sample_weight, None, validation, width=trainer.state.input_shape
    )
    fitting = {
        "batch_size": batch_size,
        "validation": validation,
        "sample_weight": sample_weight,
        "class_weight": class_weight,
    }
    rows = train if held_out is None else held_out
    plan = plan.for_rows(rows.X.shape[0])
    shown = (rows.X, rows.y) if test is None else test
    if resume is None:
        dense = _without_training(trainer)
        done = Pruned(trainer, [_first_row(trainer, plan, rows)], profile(trainer, *shown, repeats=0))
        _tell(done, on_round)
    else:
        dense, done = None, _resumed(trainer, plan, resume)
    size = trainer.setup.batch_size_of(train.X.shape[0], batch_size) or train.X.shape[0]
    epochs = plan.epochs_per_round or epochs_of_round(-(-train.X.shape[0] // size))
    with trainer.backend.activate(), _without_limit(trainer):
        while not done.stopped:
            _next_round(done, plan, rows, epochs, lambda until: trainer.fit(X, y, epochs=until, **fitting))
            if done.rounds[-1]["kept"]:
                _tell(done, on_round)
    if done.after is None:
        done.after = profile(trainer, *shown, repeats=0)
        if dense is not None:  # not known any more in a pruning that goes on
            done.before, done.after = timed([dense, trainer], [done.before, done.after], shown[0])
    if done.missed:
        _log.warning("%s", done.missed)
    return done


def _without_training(trainer: Trainer) -> Trainer:
    """Return a copy to predict with, without the state of the optimizer."""
    other = trainer.copy()
    other.opt_state = other.best = other.last = other.average = None
    return other


def _first_row(trainer: Trainer, plan: Plan, rows: Rows) -> dict[str, Any]:
    measured = _measured(trainer, plan, rows)
    return _row(trainer, plan, 0, None) | {"pruned": measured, "retrained": measured}


def _row(trainer: Trainer, plan: Plan, number: int, widths: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "round": number,
        "sparsity": plan.sparsity_now(trainer, widths),
        "nonzero": count_weights(trainer.variables)[0],
    }
    if plan.scope == "unit":
        row["widths"] = list(hidden_widths(trainer.model))
    return {**row, "epoch": trainer.epoch, "kept": True}


def _resumed(trainer: Trainer, plan: Plan, values: Mapping[str, Any]) -> Pruned:
    try:
        done = Pruned.from_dict(trainer, values)
        last = done.rounds[-1]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ConfigError(
            f"resume: expected what to_dict of a pruning gave, found {values!r} ({error!r}); pass that"
        ) from error
    if not done.stopped and (last["epoch"], len(done.rounds) <= plan.rounds) != (trainer.epoch, True):
        raise ConfigError(
            f"resume: expected the trainer as it was after round {last['round']} of {plan.rounds}, in epoch "
            f"{last['epoch']}, found epoch {trainer.epoch}; pass what was saved with that round"
        )
    return done


def _tell(done: Pruned, on_round: Callable[[Pruned], bool | None] | None) -> None:
    if on_round is not None and on_round(done) and not done.stopped:
        done.stopped = _ASKED


def _next_round(done: Pruned, plan: Plan, rows: Rows, epochs: int, fit: Callable[[int], History]) -> None:
    """Prune and retrain once more; on any exception the trainer is as it was before."""
    trainer, first, number = done.trainer, done.rounds[0], len(done.rounds)
    earlier = _Snapshot(trainer)
    try:
        pruned, retrained = _prune_and_retrain(done, plan, rows, epochs, fit)
        row = _row(trainer, plan, number, first.get("widths")) | {"pruned": pruned, "retrained": retrained}
    except BaseException:
        earlier.restore(trainer)
        raise
    if plan.suffers(trainer, first["retrained"], retrained):
        earlier.restore(trainer)
        row["kept"] = False
        name = plan.monitored(trainer)
        before, after = first["retrained"][name], retrained[name]
        done.stopped = (
            f"{name} suffered by more than {plan.tolerance:.3g} in round {number} ({before:.4g} before, "
            f"{after:.4g} after)"
        )
    elif number == plan.rounds:
        done.reached = plan.is_reached(trainer, first.get("widths"))
        kept = "two units of each hidden layer" if plan.scope == "unit" else "two paths to each output"
        done.stopped = _TARGET if done.reached else f"{kept} stay in any case"
    done.rounds.append(row)


def _prune_and_retrain(
    done: Pruned, plan: Plan, rows: Rows, epochs: int, fit: Callable[[int], History]
) -> tuple[dict[str, float], dict[str, float]]:
    """Do the next round's work, and return what was measured before and after retraining."""
    trainer = done.trainer
    target = plan.sparsity_after(len(done.rounds), done.rounds[0]["sparsity"])
    if plan.restarts(trainer):
        trainer.opt_state = None
    if plan.scope == "unit":
        aims = plan.widths_after(len(done.rounds), done.rounds[0]["widths"])
        removed = [now - aim for now, aim in zip(hidden_widths(trainer.model), aims, strict=True)]
        remove_units(trainer, removed, plan.criterion)
    else:
        mask = magnitude_mask(trainer.variables, target, plan.scope, model=trainer.model)
        if trainer.mask is not None:
            mask = mask * trainer.mask
        if plan.decay:
            _fade_out(trainer, mask, epochs, fit)
            epochs = 1
        trainer.set_mask(mask)
    pruned = _measured(trainer, plan, rows)
    trainer.state.begin_patience_anew()
    fit(trainer.epoch + epochs)
    return pruned, _measured(trainer, plan, rows)


def _fade_out(trainer: Trainer, mask: Any, epochs: int, fit: Callable[[int], History]) -> None:
    """Train all epochs but the last one, while the weights at which the mask is 0 decay towards 0."""
    for epoch in range(1, epochs):
        trainer.state.begin_patience_anew()
        params, state = trainer.variables
        factor = (epochs - epoch) / (epochs - epoch + 1)
        flat = params.flat * (mask + (1 - mask) * factor)
        trainer.variables = Variables(Parameters(flat, params.layout), state)
        fit(trainer.epoch + 1)


def _measured(trainer: Trainer, plan: Plan, rows: Rows) -> dict[str, float]:
    """Return the loss, the metrics and what the tolerance limits."""
    setup, name = trainer.setup, plan.monitored(trainer)
    if name not in ("loss", *setup.metrics):
        _, metric = metrics.get(name, setup.loss.targets)  # type: ignore[attr-defined]
        trainer.setup = dataclasses.replace(setup, metrics={**setup.metrics, name: metric})
    try:
        return trainer.evaluate(rows.X, rows.y, rows.weight)
    finally:
        trainer.setup = setup


@contextlib.contextmanager
def _without_limit(trainer: Trainer) -> Iterator[None]:
    """Inside this context the trainer may take steps beyond its ``max_steps``."""
    steps = trainer.settings.max_steps
    trainer.setup = trainer.setup.changed(max_steps=None)
    try:
        yield
    finally:
        trainer.setup = trainer.setup.changed(max_steps=steps)


class _Snapshot:
    """All of a trainer that a round changes: its model and its state."""

    def __init__(self, trainer: Trainer):
        self._model, self._state = trainer.model, trainer.state.snapshot()
        if not trainer.settings.rollback:  # a fit writes over these
            xp = trainer.backend.xp
            for name in ("variables", "opt_state", "last", "average"):
                self._state[name] = map_leaves(
                    lambda x: xp.asarray(x, copy=True) if hasattr(x, "shape") else x, self._state[name]
                )

    def restore(self, trainer: Trainer) -> None:
        """Return the trainer to that state."""
        trainer.model = self._model
        trainer.state.restore(self._state)
