"""The trainer: shuffle, batch, forward, backward, update, validate, stop."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet import backends, checks, losses, optim, rng
from xpnet.backends import Backend
from xpnet.backends.memory import tells
from xpnet.backends.profiling import profiled
from xpnet.containers import map_leaves
from xpnet.nn import Layer, Variables
from xpnet.parameters import Parameters
from xpnet.program.compiling import choose
from xpnet.train import persistence, targets
from xpnet.train.arguments import (
    check_callbacks,
    check_mask,
    check_model,
    named_metrics,
    needing_less,
    one_of,
    unless_none,
    with_precision,
)
from xpnet.train.batches import Batches
from xpnet.train.callbacks import Callback
from xpnet.train.divergence import checked_losses
from xpnet.train.evaluation import Evaluation
from xpnet.train.full_batch import FullBatchSteps, check_full_batch, state_of
from xpnet.train.history import Best, History
from xpnet.train.objective import StepObjective
from xpnet.train.predictor import Predictor
from xpnet.train.progress import for_terminal
from xpnet.train.regularization import check_penalty, check_smoothing, noise_deviation
from xpnet.train.rows import Rows, split
from xpnet.train.steps import CompiledSteps, Fitting, compiled_steps
from xpnet.train.stopping import Patience, check_validation
from xpnet.train.symmetry import warn_of_identical_units

__all__ = ["Trainer"]

_log = logging.getLogger("xpnet")
_LOG_STEPS = 1000  # within an epoch, losses are looked at this often


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
        dtype: ``"float32"`` or ``"float64"``.
        precision: of matrix products in float32: ``"float32"``, or ``"tf32"`` on CUDA devices of compute
            capability 8.0 or higher: faster, with products of numbers that are rounded to 10 bits. Nothing in
            the environment changes it.
        seed: whole number, root of all draws.
        split_seed: root of the draw that splits validation rows off, for trainers that share it; None: seed.
        compile: ``"auto"`` records a step once for each size of batch and runs it as a compiled program;
            what a layer or loss reads beside arrays is fixed then. Where numba is installed, long training
            goes over to it. The name of a lowering (:func:`xpnet.compile`) uses that one from the start;
            ``"off"`` runs the functions one by one, as does what cannot be compiled, which says why.
        callbacks: :class:`~xpnet.train.Callback` objects.
        metrics: names (``"accuracy"``, ``"r2"``, ...: :data:`xpnet.train.METRICS`) or functions
            ``(outputs, targets) -> 0-d array``, computed after each epoch on training and validation rows.
        l1, l2: factors of the penalties Σ |w| and Σ w². A dict gives factors by name: ``"weights"``,
            ``"biases"``, a layer such as ``"0"`` for its weights, or a parameter such as ``"0.bias"``; the
            narrower name wins.
        max_norm: bound for the Euclidean norm of each unit's incoming weights, to which longer ones are
            scaled down after each step; None for no bound.
        label_smoothing: share ε of each target that is spread over all K classes, (1 - ε) t + ε / K, in
            training; for losses of probabilities.
        gradient_noise: variance η of normal noise added to the gradient, σ² = η / k^0.55 in step k.
        clip_norm, clip_value: bounds for the gradient's norm and entries; None for no bound. Entries first.
        batches: ``"reshuffle"`` for new batches each epoch, ``"fixed"`` for batches drawn once and kept.
        max_steps: stop after this many steps in all; None for no limit. An epoch that this cuts short counts
            as one: its history row tells of the steps it had, and a later ``fit`` begins the next epoch.
        patience: stop when the validation loss has not fallen for this many epochs; None: never. Once lost,
            it stays so: to train further, set the attribute to None or more.
        min_delta: by how much it must fall to count for ``patience``.
        restore_best: whether a fit with a validation set ends with the variables of the lowest validation
            loss; by default if ``patience`` is set. A later ``fit`` goes on from the last epoch all the same.
        rollback: whether the state before an epoch is kept until its end, to return to if something ends it
            early. That takes memory for parameters × (1 + the optimizer's slots). False does without: an
            epoch cut short leaves the state as it is then, the next ``fit`` begins that epoch anew, and
            arrays of ``variables`` from before a ``fit`` are overwritten by it.
        progress: None shows a bar on a terminal and nothing elsewhere; True lines elsewhere; False nothing.

    Attributes:
        variables: parameters and state, with which is predicted; None before training.
        opt_state, epoch, step, history: the optimizer's state, and how far the training is.
        begun: the epoch after which patience counts: that of the last pruning, or 0.
        best: the variables with the lowest validation loss so far, their epoch and that loss; or None.
        newest: the variables after the last epoch, where ``variables`` are the best ones; else None.
        stuck: why a method of second order found no lower point in the last fit; empty if it did.
        mask: a vector of 0 and 1 like the parameters: those at 0 stay 0; or None. See `set_mask`.
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

    def __init__(
        self,
        model: Layer,
        loss: str | Mapping[str, Any] | Callable[..., Any],
        optimizer: str | optim.Optimizer | optim.Method = "adam",
        *,
        backend: str | Backend = "auto",
        dtype: str = "float32",
        precision: str = "float32",
        seed: int = 0,
        split_seed: int | None = None,
        compile: str = "auto",
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[str | Callable[..., Any]] = (),
        l1: float | Mapping[str, float] = 0.0,
        l2: float | Mapping[str, float] = 0.0,
        max_norm: float | None = None,
        label_smoothing: float = 0.0,
        gradient_noise: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        batches: str = "reshuffle",
        max_steps: int | None = None,
        patience: int | None = None,
        min_delta: float = 0.0,
        restore_best: bool | None = None,
        rollback: bool = True,
        progress: bool | None = None,
    ):
        check_model(model)
        self.dtype = one_of("dtype", dtype, "float32", "float64")
        self.batches = one_of("batches", batches, "reshuffle", "fixed")
        self.model, self.loss, self.optimizer = model, losses.get(loss), optim.get(optimizer)
        self.backend = with_precision(backends.backend(backend), precision, dtype)
        self.backend.dtype(dtype)  # complains now if the device lacks it
        choose(compile, self.backend.xp)  # likewise
        self.compile = compile
        self.key, self.seed = rng.key(seed), int(seed)
        self.split_seed = None if split_seed is None else rng.key(split_seed).seed
        self.callbacks = check_callbacks(callbacks)
        self.metrics = named_metrics(metrics, targets.kind_of(self.loss))
        self.l1, self.l2 = check_penalty("l1", l1), check_penalty("l2", l2)
        self.max_norm = unless_none(checks.positive, "max_norm", max_norm)
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)
        check_smoothing(self.loss, self.label_smoothing)
        self.gradient_noise = checks.not_negative("gradient_noise", gradient_noise)
        self.clip_norm = unless_none(checks.positive, "clip_norm", clip_norm)
        self.clip_value = unless_none(checks.positive, "clip_value", clip_value)
        self.max_steps = unless_none(checks.count, "max_steps", max_steps)
        self.patience = unless_none(checks.count, "patience", patience)
        self.min_delta = checks.not_negative("min_delta", min_delta)
        self.restore_best = unless_none(checks.flag, "restore_best", restore_best)
        self.rollback = checks.flag("rollback", rollback)
        self.progress = unless_none(checks.flag, "progress", progress)
        check_full_batch(self)

        self.variables = None
        self.opt_state: dict[str, Any] | None = None
        self.epoch = self.step = self.begun = 0
        self.history = History()
        self.best: Best | None = None
        self.newest: Variables | None = None
        self.mask: Any = None
        self.fitting: Fitting | None = None
        self.input_shape = None
        self.stuck = ""
        self._steps: CompiledSteps | FullBatchSteps | None = None
        self._evaluation = Evaluation()

    # --- training ------------------------------------------------------------------------------------

    @tells("fit", needing_less, lambda trainer: trainer._forget_rows())
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int,
        batch_size: int | None = None,
        validation: float | Sequence[Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | str | None = None,
    ) -> History:
        """Train until ``epochs`` epochs are done in all; one that was trained or loaded before goes on.

        Args:
            X: inputs (batch, features), finite numbers, on the host or any device.
            y: targets as the loss wants them: class indices (batch,), values (batch,) or (batch, outputs).
            epochs: number of passes over the training rows, counted from the first call.
            batch_size: rows of a step; None for all (full batch), 1 for single samples.
            validation: a fraction of the rows to split off, or ``(X, y)``, or ``(X, y, sample_weight)``.
            sample_weight: (batch,), weights of the rows in the loss; rows of weight 0 are left out.
            class_weight: weight of each class index, or ``"balanced"`` for n / (classes · count); for the
                training rows alone.

        Returns:
            The history, one row an epoch; also kept as ``self.history``.

        Raises:
            DataError: arrays that do not fit or are not finite.
            ConfigError: a batch larger than the rows, patience without validation, ...
            DivergedError: the loss, a parameter, a statistic or the optimizer's state is NaN or infinite.
            OutOfMemoryError: the device has too little memory; what was taken for this fit is free again.

        Whatever ends an epoch early (divergence, Ctrl-C, an error in a callback), the trainer is left as it
        was after the last whole epoch (see ``rollback``), and can be saved, used, or trained further. A
        changed ``optimizer`` whose state is of another form begins with a fresh one.
        """
        epochs = checks.count("epochs", epochs)
        check_full_batch(self, batch_size)
        known = self._let_go_of_rows()
        train, held_out = split(self, X, y, sample_weight, class_weight, validation)
        check_validation(self, held_out)
        plan = Batches(train.X.shape[0], batch_size, self.batches, self.key, self.backend)
        plan = plan.or_same(known)
        bar = for_terminal(self.progress)
        callbacks = [*self.callbacks, *([bar] if bar else [])]
        patience = Patience(self.patience, self.min_delta).after(self.history, since=self.begun)
        self._start(tuple(train.X.shape[1:]))
        self.stuck = ""
        with self.backend.activate(), contextlib.ExitStack() as ending:
            if isinstance(self.optimizer, optim.Method):
                self._steps = FullBatchSteps(self, train)
            else:
                self._steps = compiled_steps(self, train, self._steps)
            self.fitting = Fitting(train, plan, self._steps)
            for callback in callbacks:
                callback.on_fit_begin(self, epochs)
                ending.callback(callback.on_fit_end, self, self.history)
            while self.epoch < epochs and not self._exhausted() and not patience.lost:
                try:
                    with profiled(self.backend, f"epoch {self.epoch + 1}"):
                        row = self._train_epoch(train, held_out, plan, callbacks)
                except optim.StuckError as stuck:
                    self.stuck = str(stuck)
                    _log.info("training ended after epoch %d: %s", self.epoch, stuck)
                    break
                patience.see(row)
                answers = [callback.on_epoch_end(self, row) for callback in callbacks]
                if any(answers):
                    break
            if held_out is not None and self._restores_best() and self.best is not None:
                self.newest, self.variables = self.variables, self.best.variables
        self.backend.peak_memory()  # is looked at now, for CuPy does not remember it
        return self.history

    def _train_epoch(
        self, train: Rows, held_out: Rows | None, plan: Batches, callbacks: list[Callback]
    ) -> dict[str, Any]:
        """Train one epoch and return its row; on any exception everything is as it was before the epoch."""
        begun = time.perf_counter()
        before = (self.variables, self.opt_state, self.step) if self.rollback else None
        counters = self.epoch, self.best, len(self.history)
        watching = [c for c in callbacks if type(c).on_step_end is not Callback.on_step_end]
        values: list[float] = []
        counts: list[int] = []
        pending: list[Any] = []  # arrays of losses still on the device
        try:
            if self._steps is not None:
                self._steps.begin_epoch(self, plan)
            for order, count, steps in plan.chunks(self.epoch + 1, self._chunk(watching)):
                if self.max_steps is not None and steps > self.max_steps - self.step:
                    steps = self.max_steps - self.step
                    order = order[:steps, ...]
                unseen = not watching and (bool(counts) or not self.rollback)
                pending.append(self._take_steps(train, order, steps, donate=unseen))
                counts += [count] * steps
                for callback in watching:
                    callback.on_step_end(self, len(counts), len(plan))
                if len(counts) - len(values) >= _LOG_STEPS:
                    values += checked_losses(self, pending, len(values), before, train, plan)
                    pending = []
                if self._exhausted():
                    break
            if pending:
                values += checked_losses(self, pending, len(values), before, train, plan)
            row = {
                "epoch": self.epoch + 1,
                "step": self.step,
                "loss": float(np.dot(values, counts) / sum(counts)),
                **self._measured(train, with_loss=False),
            }
            if held_out is not None:
                measured = self._measured(held_out)
                row |= {f"validation_{name}": value for name, value in measured.items()}
            if isinstance(self.optimizer, optim.Optimizer):
                row["learning_rate"] = float(self.optimizer.learning_rate_at(self.opt_state["step"]))  # type: ignore[index]
            row["seconds"] = round(time.perf_counter() - begun, 6)
            self.epoch += 1
            self.history.append(row)
            self._keep_best(row)
        except BaseException:
            if before is not None:
                self.variables, self.opt_state, self.step = before
            self.epoch, self.best, rows = counters
            del self.history.rows[rows:]
            raise
        return row

    def _measured(self, rows: Rows, *, with_loss: bool = True) -> dict[str, float]:
        with self.fitting.between_epochs(rows.X.shape[0]):  # type: ignore[union-attr]
            return self._evaluation.measure(self, rows, with_loss=with_loss, again=True)

    def _chunk(self, watching: list[Callback]) -> int:
        """Return how many steps are taken at a time: all that are looked at together."""
        if self._steps is None:
            return 1
        steps = min(_LOG_STEPS, self._steps.at_a_time(), *(c.steps_apart for c in watching))
        return steps if self.max_steps is None else max(1, min(steps, self.max_steps - self.step))

    def _take_steps(self, train: Rows, orders: Any, count: int, *, donate: bool) -> Any:
        """Take ``count`` steps on the rows ``orders`` (steps, batch); returns their losses, on the device."""
        if self._steps is not None:
            return self._steps.run(self, orders, count, donate=donate)
        loss = self.single_step(train.take(None if orders is None else orders[0, ...]))
        return self.backend.xp.reshape(loss, (1,))

    def single_step(self, batch: Rows) -> Any:
        """Take one step, uncompiled: forward, backward, clip, update. Returns its loss, on the device."""
        params, state = self.variables  # type: ignore[misc]
        step = self.step + 1
        (loss, new_state), gradient = self.objective.gradient(
            params, state, batch, self.step_key(step), mask=self.mask, noise=self.noise_of(step)
        )
        params, self.opt_state = self.optimizer.update(gradient, self.opt_state, params)  # type: ignore
        flat = self.objective.constrained(params.flat, self.mask)
        self.variables = Variables(Parameters(flat, params.layout), new_state)
        self.step += 1
        return loss

    def step_key(self, step: int) -> rng.Key:
        """Return the randomness of a step: it depends on the seed and the step's number alone."""
        return self.key.fold("step", step)

    def noise_of(self, step: int) -> float:
        """Return the standard deviation of the noise that a step adds to its gradient."""
        return noise_deviation(self.gradient_noise, step)

    def set_mask(self, mask: Any) -> None:
        """Make the parameters at which ``mask`` is 0 zero, and keep them so in training from here on.

        Training goes on from ``variables``; what was kept of other ones, ``best`` and ``newest``, is dropped,
        and patience counts from here.

        Args:
            mask: a vector of 0 and 1 like ``variables.params.flat``, on the host or the device; None lets all
                parameters be trained again.

        Raises:
            ConfigError: the trainer has no variables yet, or the vector is not such a one.
        """
        self._check_trained()
        self.best = self.newest = self.mask = None
        self.begun = self.epoch
        if mask is not None:
            params, state = self.variables  # type: ignore[misc]
            self.mask = check_mask(self, mask)
            with self.backend.activate():
                flat = params.flat * self.mask
            self.variables = Variables(Parameters(flat, params.layout), state)

    # --- what fit relies on --------------------------------------------------------------------------

    def _let_go_of_rows(self) -> Batches | None:
        """Drop the rows of the last fit, so that the device never has those of two; return their batches."""
        plan = None if self.fitting is None else self.fitting.plan
        self.fitting = None
        if isinstance(self._steps, CompiledSteps):
            self._steps.end()
        else:
            self._steps = None
        return plan

    def _start(self, input_shape: tuple[int, ...]) -> None:
        """Draw the variables before the first epoch, and make what every step needs."""
        if self.variables is None:
            self.variables = self.model.init(self.seed, input_shape, self.backend, self.dtype)
            self.input_shape = input_shape
            warn_of_identical_units(self)
        if self.newest is not None:
            self.variables, self.newest = self.newest, None
        self._begin_optimizer()
        self.objective = StepObjective(self)

    def _begin_optimizer(self) -> None:
        """Make the optimizer's state, unless there is one of its form."""
        optimizer, known = self.optimizer, self.opt_state
        if isinstance(optimizer, optim.Method):
            fresh = state_of(optimizer)
            if known is None or known.get("method") != fresh["method"]:
                self.opt_state = fresh
            return
        usual = type(optimizer).init is optim.Optimizer.init
        if usual and known is not None and known.keys() == {"step", *optimizer.slots}:
            return  # known without making one for comparison
        with self.backend.activate():
            fresh = optimizer.init(self.variables.params)  # type: ignore[union-attr]
        if known is None or known.keys() != fresh.keys():
            self.opt_state = fresh

    def _forget_rows(self) -> None:
        """Let go of the rows of the last fit and of the programs for them."""
        self._steps = self.fitting = None
        self._evaluation = Evaluation()

    def _exhausted(self) -> bool:
        return self.max_steps is not None and self.step >= self.max_steps

    def _restores_best(self) -> bool:
        return self.patience is not None if self.restore_best is None else self.restore_best

    def _keep_best(self, row: dict[str, Any]) -> None:
        loss = row.get("validation_loss")
        if loss is not None and loss < (np.inf if self.best is None else self.best.loss):
            variables: Any = self.variables
            if not self.rollback:  # the next epoch writes over them
                xp = self.backend.xp
                variables = map_leaves(lambda x: xp.asarray(x, copy=True), variables)
            self.best = Best(variables, self.epoch, loss)

    # --- disk ----------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write everything needed to predict and to go on training.

        Args:
            folder: made if missing; ``trainer.safetensors`` is written inside. A path that ends in
                ``.safetensors`` names the file itself.

        Raises:
            CheckpointError: the file cannot be written; an older one stays as it was.
        """
        persistence.save(self, folder)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        backend: str | Backend = "auto",
        *,
        model: Layer | None = None,
        loss: str | Mapping[str, Any] | Callable[..., Any] | None = None,
        optimizer: optim.Optimizer | optim.Method | None = None,
        **settings: Any,
    ) -> Trainer:
        """Return the trainer that :meth:`save` wrote, on any backend.

        Args:
            folder: what was given to :meth:`save`.
            backend: where to go on.
            model, loss, optimizer: those of the user's own making, which a file cannot hold, or others to go
                on with; an optimizer whose state is of another form begins with a fresh one.
            settings: arguments of :class:`Trainer` that are not stored (callbacks, progress, metrics of the
                user's own making) or shall change. Logger "xpnet" tells what changes, at level info.

        Raises:
            CheckpointError: missing, damaged, written by a newer version, or of another model than the given.
            ConfigError: settings that cannot be meant, another seed, or fewer steps than are done.
        """
        return persistence.load(cls, folder, backend, model=model, loss=loss, optimizer=optimizer, **settings)
