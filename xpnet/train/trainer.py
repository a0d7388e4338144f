"""The trainer: shuffle, batch, forward, backward, update, validate, stop."""

from __future__ import annotations

import contextlib
import html
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xpnet import backends, checks, losses, optim
from xpnet.backends import Backend
from xpnet.backends.memory import tells
from xpnet.backends.profiling import profiled
from xpnet.nn import Layer, Variables
from xpnet.parameters import Parameters
from xpnet.train import checkpoint, targets
from xpnet.train.arguments import check_callbacks, check_mask, named_metrics, needing_less
from xpnet.train.attributes import OfState, takes_settings
from xpnet.train.averaging import average_epoch, begun_average
from xpnet.train.batches import Batches
from xpnet.train.callbacks import Callback
from xpnet.train.columns import column_names, matched
from xpnet.train.deadline import Deadline, EpochGivenUpError
from xpnet.train.divergence import checked_losses
from xpnet.train.early_stopping import Patience, check_validation, keep_best, nothing_left
from xpnet.train.epochs import (
    FitContext,
    at_a_time,
    ends_within,
    epochs_together,
    evaluated_rows,
    looked_at_after,
    row_of,
    train_together,
    warn_if_late,
)
from xpnet.train.evaluation import Evaluation
from xpnet.train.full_batch import FullBatchSteps, state_of
from xpnet.train.history import History
from xpnet.train.initialization import initial_variables
from xpnet.train.predictor import Predictor
from xpnet.train.progress import for_terminal
from xpnet.train.rows import Rows, are_others, fingerprint, split
from xpnet.train.settings import Settings, settings_of
from xpnet.train.setup import Setup
from xpnet.train.state import TrainState
from xpnet.train.steps import CompiledSteps, Steps, first_order_steps
from xpnet.train.summary import summary
from xpnet.train.threads import Use, alone

__all__ = ["Trainer"]

_log = logging.getLogger("xpnet")
_MADE_ANEW = ("fitting", "_steps", "_evaluation", "_use")


@takes_settings(Settings)
class Trainer(Predictor):
    """Trains a model on arrays, on any backend.

    The objective is the mean loss over a batch, plus ``l1`` · Σ |w| + ``l2`` · Σ w² over all weights (not
    biases); see lecture note 004. Everything random follows from ``seed``: the same on every backend.

    Args:
        model: a layer or model of :mod:`xpnet.nn`.
        loss: a name, table or function of :mod:`xpnet.losses`, or a function of array operations,
            ``(predictions, targets, *, sample_weight=None) -> 0-d array`` (:func:`xpnet.losses.make`).
        optimizer: a name or object of :mod:`xpnet.optim`. Methods of second order (``"l-bfgs"``,
            ``"hessian-free"``, ...) take full batches, one iteration an epoch; the loss of an epoch is the
            objective before its iteration, and a fit ends where no lower point is found.
        backend: where to compute, as for :func:`xpnet.backend`.
        callbacks: :class:`~xpnet.train.Callback` objects.
        metrics: names (``"accuracy"``, ``"r2"``, ...: :data:`xpnet.train.METRICS`) or functions
            ``(outputs, targets) -> 0-d array``, computed after each epoch on training and validation rows.
        <settings>

    Attributes:
        setup: model, loss, optimizer, backend, metrics and settings.
        state: parameters, the optimizer's state, epoch, step, history, best: see
            :class:`~xpnet.train.state.TrainState`. Parts of both are attributes of the trainer as well, and a
            setting that is given another value is checked as here.
        stalled: why a method of second order found no lower point in the last fit; empty if it did.
        timed_out: whether ``time_limit`` ended the last fit before its end; another one continues.
        ending: for callbacks, at an epoch's end: whether it is the last of this fit.
        fitting: rows, batches and steps of the last ``fit``, for callbacks; None before the first.

    Raises:
        ConfigError: settings that are unknown or contradict each other.
        BackendError: the backend cannot work here.
        OutOfMemoryError: of `fit`, `predict` and the like: the device has too little memory. It says how much
            was asked for and what helps; the trainer is as it was after the last whole epoch.

    Example:
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import two_gaussians_arrays
        >>> X, y = two_gaussians_arrays(n=200, seed=0)
        >>> trainer = Trainer(nn.MLP([8], 2), "softmax_cross_entropy", backend="numpy", metrics=["accuracy"])
        >>> history = trainer.fit(X, y, epochs=30, batch_size=20)
        >>> trainer.evaluate(X, y)["accuracy"] > 0.9
        True
    """

    fitting: FitContext | None
    _steps: Steps | None

    opt_state, epoch, step, history, best = OfState(), OfState(), OfState(), OfState(), OfState()
    last, mask, patience_since, average = OfState(), OfState(), OfState(), OfState()

    def __init__(
        self,
        model: Layer,
        loss: str | Mapping[str, Any] | Callable[..., Any],
        optimizer: str | optim.Optimizer | optim.Method = "adam",
        *,
        backend: str | Backend = "auto",
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[str | Callable[..., Any]] = (),
        **settings: Any,
    ):
        checked, loss = settings_of(Settings, settings), losses.get(loss)
        named = named_metrics(metrics, getattr(loss, "targets", None))
        self.setup = Setup(model, loss, optim.get(optimizer), backends.backend(backend), named, checked)
        self.state = TrainState()
        self.callbacks = check_callbacks(callbacks)
        self.stalled, self.timed_out, self.ending, self._use = "", False, False, Use()
        self._forget_rows()

    def __repr__(self) -> str:
        return summary(self.setup, self.state)

    def _repr_html_(self) -> str:
        """Return summary and history as HTML, for notebooks."""
        history = self.state.history._repr_html_() if len(self.state.history) else ""
        return f"<pre>{html.escape(repr(self))}</pre>{history}"

    # --- training ------------------------------------------------------------------------------------

    @alone
    @tells("fit", needing_less, lambda trainer: trainer._forget_rows())
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int,
        batch_size: int | str | None = "auto",
        validation: float | Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | str | None = None,
        order: Callable[[int], Any] | None = None,
        deadline: Deadline | None = None,
    ) -> History:
        """Train until ``epochs`` epochs are done in total; a trained or loaded trainer continues.

        Args:
            X: inputs (batch, features), finite numbers, on the host or any device.
            y: targets as the loss wants them: class indices (batch,), values (batch,) or (batch, outputs).
            epochs: number of passes over the training rows, counted from the first call.
            batch_size: rows of a step; None for all (full batch), 1 for single samples. By default 64, or all
                if there are fewer or the optimizer is of second order.
            validation: a fraction of the rows to split off, or ``(X, y)``, or ``(X, y, sample_weight)``.
            sample_weight: (batch,), weights of the rows in the loss; rows of weight 0 are left out. Of an
                ensemble also (batch, members), so that each member can have validation rows of its own.
            class_weight: weight of each class index, or ``"balanced"`` for n / (classes · count), of weights
                their sums; for the training rows alone.
            order: function of an epoch's number, from 1, that returns the row numbers (batch,) in the order
                in which that epoch takes them; by default they are drawn as the setting ``batches`` says.
            deadline: end of the time, if that is not ``time_limit`` seconds from now.

        Returns:
            The history, one row an epoch; also kept as ``self.history``.

        Raises:
            DataError: arrays that do not fit or are not finite.
            ConfigError: a batch larger than the rows, patience without validation, another thread's fit, ...
            DivergedError: the loss, a parameter, a statistic or the optimizer's state is NaN or infinite.
            OutOfMemoryError: the device has too little memory; what was taken for this fit is free again.

        Whatever ends an epoch early (divergence, Ctrl-C, an error in a callback), the trainer is left as it
        was after the last whole epoch (see ``rollback``), and can be saved, used, or trained further. A
        changed ``optimizer`` whose state is of another form begins with a fresh one.
        """
        epochs = checks.count("epochs", epochs)
        setup, settings, state = self.setup, self.setup.settings, self.state
        setup.check_batch_size(batch_size)
        known = self._let_go_of_rows()
        X = matched(X, state.columns)
        train, held_out = split(setup, X, y, sample_weight, class_weight, validation, width=state.input_shape)
        check_validation(settings, held_out)
        size = setup.batch_size_of(train.X.shape[0], batch_size)
        n, taken = train.X.shape[0], order or settings.batches
        batches = Batches(n, size, taken, setup.key, setup.backend, drop_last=settings.drop_last)
        batches = batches.or_same(known)
        bar = for_terminal(settings.progress)
        callbacks = [*self.callbacks, *([bar] if bar else [])]
        deadline = deadline or Deadline(settings.time_limit)
        patience = Patience.of(setup)
        if settings.patience is not None:  # the history may be long
            patience.after(state.history, since=state.patience_since)

        def is_over() -> bool:
            return state.epoch >= epochs or self._exhausted() or patience.lost

        self.stalled, self.timed_out, self.ending = "", False, False
        with setup.backend.activate(), contextlib.ExitStack() as ending:
            if known is None:  # the first fit of this object
                targets.warn_of_pairs(setup.loss, train.y)
            self.begin(tuple(train.X.shape[1:]), train.X)
            self._remember(train, column_names(X))
            if isinstance(setup.optimizer, optim.Method):
                self._steps = FullBatchSteps(setup, state, train)
            else:
                self._steps = first_order_steps(setup, state, train, self._steps)
            self.fitting = FitContext(train, batches, self._steps, held_out, deadline)
            if is_over():
                _log.warning("%s", nothing_left(settings, state.epoch, state.step, epochs))
            warn_if_late(state, deadline)
            for callback in callbacks:
                callback.on_fit_begin(self, epochs)
                ending.callback(callback.on_fit_end, self, state.history)
            began, steps = time.monotonic(), self._steps
            while not (is_over() or self.timed_out):
                steps.may_compile = deadline.may_compile(steps.compiling)
                try:
                    with profiled(setup.backend, f"epoch {state.epoch + 1}"):
                        rows = self._train_epochs(self.fitting, callbacks, epochs - state.epoch)
                except EpochGivenUpError:
                    self.timed_out = True
                    break
                except optim.StuckError as stuck:
                    self.stalled = str(stuck)
                    _log.info("training ended after epoch %d: %s", state.epoch, stuck)
                    break
                for row in rows:
                    patience.see(row)
                before, began = began, time.monotonic()  # of the callbacks as well
                deadline.see_epoch(began - before)
                self.timed_out = deadline.is_over(deadline.epoch) and not is_over()
                self.ending = self.timed_out or is_over()
                answers = [callback.on_epoch_end(self, row) for row in rows for callback in callbacks]
                if any(answers):
                    break
            if held_out is not None and settings.restore_best is not False and state.best is not None:
                state.predict_with(state.best.variables)
            else:
                state.predict_with_average()
        setup.backend.peak_memory()  # is looked at now, for CuPy does not remember it
        return state.history

    def _train_epochs(
        self, fitting: FitContext, callbacks: list[Callback], left: int
    ) -> list[dict[str, Any]]:
        """Train an epoch, or several if nobody looks at what is between them, and return their rows."""
        count = epochs_together(self.setup, callbacks, fitting, left)
        if count > 1 and (rows := train_together(self.setup, self.state, fitting, count)):
            return rows
        return [self._train_epoch(fitting, callbacks)]

    def _train_epoch(self, fitting: FitContext, callbacks: list[Callback]) -> dict[str, Any]:
        """Train one epoch and return its row; on any exception everything is as it was before the epoch."""
        started, began = time.perf_counter(), time.monotonic()
        setup, settings, state = self.setup, self.setup.settings, self.state
        train, batches, steps, held_out, deadline = fitting
        before = state.snapshot(overwritten=settings.rollback)
        watching = [c for c in callbacks if type(c).on_step_end is not Callback.on_step_end]
        values: list[float] = []
        counts: list[int] = []
        pending: list[Any] = []  # arrays of losses still on the device
        state.go_on()
        try:
            steps.begin_epochs(state, batches, 1)
            together, apart = at_a_time(setup, state, fitting, watching), looked_at_after(fitting)
            for order, rows, number in batches.chunks(state.epoch + 1, together):
                if settings.max_steps is not None and number > settings.max_steps - state.step:
                    number = settings.max_steps - state.step
                    order = order[:number, ...]
                unseen = not watching and (bool(counts) or not settings.rollback)
                pending.append(self._take_steps(steps, order, number, donate=unseen))
                counts += [rows] * number
                for callback in watching:
                    callback.on_step_end(self, len(counts), len(batches))
                if len(counts) - len(values) >= apart:
                    values += checked_losses(setup, state, pending, len(values), before, train, batches)
                    pending = []
                if ends_within(setup, state, fitting, began, counts):
                    break
            if pending:
                values += checked_losses(setup, state, pending, len(values), before, train, batches)
            average_epoch(setup, state)
            began = time.monotonic()
            measured = self._measured(train, with_loss=False) if settings.training_metrics else {}
            if held_out is not None:
                found = self._measured(held_out)
                measured |= {f"validation_{name}": value for name, value in found.items()}
            deadline.see_evaluation(time.monotonic() - began, evaluated_rows(setup, fitting))
            seconds = time.perf_counter() - started
            row = row_of(setup, state, values, counts, seconds, measured, epoch=state.epoch + 1)
            state.epoch += 1
            state.history.append(row)
            keep_best(setup, state, row)
        except BaseException:
            state.restore(before)
            raise
        return row

    def _measured(self, rows: Rows, *, with_loss: bool = True) -> dict[str, float]:
        assert self.fitting is not None
        steps, n = self.fitting.steps, rows.X.shape[0]
        options: dict[str, Any] = {"with_loss": with_loss, "again": True, "lower": steps.measures_by(n)}
        with steps.between_epochs(n):
            return self._evaluation.measure(self.setup, self._trained(), rows, **options)

    def _take_steps(self, steps: Steps, orders: Any, count: int, *, donate: bool) -> Any:
        """Take ``count`` steps on the rows ``orders`` (steps, batch); returns their losses, on the device."""
        return steps.run(self.state, orders, count, donate=donate)

    def partial_fit(self, X: Any, y: Any, **options: Any) -> History:
        """Train one more epoch: `fit` with ``epochs`` one above those that are done, and the same options."""
        return self.fit(X, y, epochs=self.state.epoch + 1, **options)

    def set_mask(self, mask: Any) -> None:
        """Set the parameters at which ``mask`` is 0 to zero, and keep them zero in later training.

        Training goes on from ``variables``; what was kept of other ones, ``best`` and ``last``, is dropped,
        and patience counts from here.

        Args:
            mask: a vector of 0 and 1 like ``variables.params.flat``, on the host or the device; None lets all
                parameters be trained again.

        Raises:
            ConfigError: the trainer has no variables yet, or the vector is not such a one.
        """
        params, model_state = self._trained()
        state, home = self.state, self.setup.backend
        state.mask = None
        state.begin_patience_anew()
        if mask is not None:
            state.mask = check_mask(home, self.setup.dtype, params.layout.size, mask)
            with home.activate():
                flat = params.flat * state.mask
            state.variables = Variables(Parameters(flat, params.layout), model_state)

    # --- copies --------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget all training: the next ``fit`` begins with fresh variables, as a new trainer would."""
        self._use.check()
        self.state, self.stalled, self.timed_out, self.ending = TrainState(), "", False, False
        self._forget_rows()

    def clone(self) -> Trainer:
        """Return an untrained trainer with the same model, loss, optimizer, callbacks and settings."""
        other = self.copy()
        other.reset()
        return other

    def copy(self) -> Trainer:
        """Return an independent copy of this trainer and its training."""
        self._use.check()
        other = type(self).__new__(type(self))
        other.__dict__.update({**self.__dict__, "_use": Use()})
        other.state, other.callbacks = self.state.copy(), list(self.callbacks)
        other._forget_rows()
        return other

    __copy__ = copy

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle: without caches, with arrays on the host."""
        self._use.check()
        left = {name: value for name, value in self.__dict__.items() if name not in _MADE_ANEW}
        with self.setup.backend.activate():
            return {**left, "state": self.state.map_arrays(self.setup.backend.to_host)}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__dict__.update({**values, "setup": values["setup"].workable(), "_use": Use()})
        with self.setup.backend.activate():
            self.state = self.state.map_arrays(self.setup.backend.asarray)
        self._forget_rows()

    # --- what fit relies on --------------------------------------------------------------------------

    def _let_go_of_rows(self) -> Batches | None:
        """Drop the rows of the last fit, so that the device never has those of two; return their batches."""
        batches = None if self.fitting is None else self.fitting.batches
        self.fitting = None
        if self._steps is not None:
            self._steps.end()
        if not isinstance(self._steps, CompiledSteps):
            self._steps = None
        return batches

    def begin(self, input_shape: tuple[int, ...], X: Any = None) -> None:
        """Draw the variables before the first epoch, and make the optimizer's state, as ``fit`` does.

        Args:
            input_shape: of a row of inputs, such as ``(64,)``.
            X: training rows on the device, for initializers that depend on data.
        """
        setup, state = self.setup, self.state
        if state.variables is None:
            state.variables = initial_variables(setup, input_shape, X)
            state.input_shape = input_shape
        state.go_on()
        state.opt_state = begun_optimizer(setup, state)
        with setup.backend.activate():
            state.average = begun_average(setup, state)

    def _remember(self, train: Rows, columns: tuple[str, ...] | None) -> None:
        """Remember which rows and columns are trained on, and tell of rows that are others than before."""
        state = self.state
        state.columns = columns if state.columns is None else state.columns
        rows = fingerprint(self.setup, train)
        if state.epoch and state.rows is not None and are_others(state.rows, rows):
            _log.warning(
                "fit: the %d rows differ from those of the %d epochs before, whose weights are trained "
                "further; to train on these rows alone, call trainer.reset(), or use trainer.clone()",
                train.X.shape[0], state.epoch,
            )  # fmt: skip
        state.rows = rows

    def _forget_rows(self) -> None:
        """Let go of the rows of the last fit and of the programs for them."""
        self.fitting = self._steps = None
        self._evaluation = Evaluation()

    def _exhausted(self) -> bool:
        most = self.setup.settings.max_steps
        return most is not None and self.state.step >= most

    # --- disk ----------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write everything needed to predict and to continue training.

        Args:
            folder: made if missing; ``trainer.safetensors`` is written inside. A path that ends in
                ``.safetensors`` names the file itself.

        Raises:
            CheckpointError: the file cannot be written; an older one stays as it was.
        """
        self._use.check()
        checkpoint.save(self.setup, self.state, folder)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        backend: str | Backend = "auto",
        *,
        model: Layer | None = None,
        loss: str | Mapping[str, Any] | Callable[..., Any] | None = None,
        optimizer: optim.Optimizer | optim.Method | None = None,
        encoded: bool = False,
        **settings: Any,
    ) -> Trainer:
        """Return the trainer that :meth:`save` wrote, on any backend.

        Args:
            folder: what was given to :meth:`save`.
            backend: where to go on.
            model, loss, optimizer: those of the user's own making, which a file cannot hold, or others to go
                on with; an optimizer whose state is of another form begins with a fresh one.
            encoded: of a model of a table, whose encoder is another file: the caller encodes the rows and
                decodes the predictions, and needs no warning.
            settings: arguments of :class:`Trainer` that are not stored (callbacks, progress, metrics of the
                user's own making) or shall change. Logger "xpnet" tells what changes, at level info.

        Raises:
            CheckpointError: missing, damaged, written by a newer version, or of another model than the given.
            ConfigError: settings that cannot be meant, another seed, or fewer steps than are done.
        """
        arguments, read_state = checkpoint.load(
            folder, backend, model=model, loss=loss, optimizer=optimizer, **settings
        )
        trainer = cls(**arguments)
        trainer.state = read_state(trainer.setup)
        if not encoded:
            checkpoint.warn_of_table(folder, trainer.state)
        return trainer


def begun_optimizer(setup: Setup, state: TrainState) -> dict[str, Any]:
    """Return the optimizer's state: that of the training if it is of its form, else a fresh one."""
    optimizer, known, variables = setup.optimizer, state.opt_state, state.variables
    assert variables is not None
    if isinstance(optimizer, optim.Method):
        fresh = state_of(optimizer)
        return fresh if known is None or known.get("method") != fresh["method"] else known
    usual = type(optimizer).init is optim.Optimizer.init
    if usual and known is not None and known.keys() == {"step", *optimizer.slots}:
        return known  # without making one for comparison
    with setup.backend.activate():
        fresh = optimizer.init(variables.params)
    return fresh if known is None or known.keys() != fresh.keys() else known
