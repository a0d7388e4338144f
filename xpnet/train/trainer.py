"""The trainer: shuffle, batch, forward, backward, update, validate, stop."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet import backends, checks, losses, optim, rng
from xpnet.autodiff import value_and_grad
from xpnet.backends import Backend
from xpnet.containers import map_leaves
from xpnet.errors import ConfigError
from xpnet.nn import Layer, Variables
from xpnet.program.compiling import choose
from xpnet.train import persistence, targets
from xpnet.train.arguments import check_callbacks, check_model, named_metrics, one_of, unless_none
from xpnet.train.batches import Batches
from xpnet.train.callbacks import Callback
from xpnet.train.divergence import checked_losses
from xpnet.train.evaluation import Evaluation
from xpnet.train.history import Best, History
from xpnet.train.progress import for_terminal
from xpnet.train.rows import Rows, check_inputs, prepare, split
from xpnet.train.steps import CompiledSteps, compiled_steps
from xpnet.train.stopping import Patience

__all__ = ["Trainer"]

_LOG_STEPS = 1000  # within an epoch, losses are looked at this often


class Trainer:
    """Trains a model on arrays, on any backend.

    The objective is the mean loss over a batch, plus ``l2`` · Σ w² over all weights (not biases); see
    lecture note 004. Everything random follows from ``seed``: the same on every backend.

    Args:
        model: a layer or model of :mod:`xpnet.nn`.
        loss: a name or function of :mod:`xpnet.losses`, or a function
            ``(predictions, targets, *, sample_weight=None) -> 0-d array`` of array operations.
        optimizer: a name or object of :mod:`xpnet.optim`.
        backend: where to compute, as for :func:`xpnet.backend`.
        dtype: ``"float32"`` or ``"float64"``.
        seed: whole number, root of all draws.
        compile: ``"auto"`` records a step once for each size of batch and runs it as a compiled program;
            what a layer or loss reads beside arrays is fixed then. Where numba is installed, long training
            goes over to it. The name of a lowering (:func:`xpnet.compile`) uses that one from the start;
            ``"off"`` runs the functions one by one, as does what cannot be compiled, which says why.
        callbacks: :class:`~xpnet.train.Callback` objects.
        metrics: names (``"accuracy"``, ``"r2"``) or functions ``(outputs, targets) -> 0-d array``, computed
            after each epoch on the training and the validation rows.
        l2: factor of the penalty Σ w².
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
        best: the variables with the lowest validation loss so far, their epoch and that loss; or None.
        newest: the variables after the last epoch, where ``variables`` are the best ones; else None.
        training_rows, training_batch: the rows to train on, checked and on the device, and how many of them
            a step takes, for callbacks; None outside ``fit``.

    Raises:
        ConfigError: settings that are unknown or contradict each other.
        BackendError: the backend cannot work here.

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
        loss: str | Callable[..., Any],
        optimizer: str | optim.Optimizer = "adam",
        *,
        backend: str | Backend = "auto",
        dtype: str = "float32",
        seed: int = 0,
        compile: str = "auto",
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[str | Callable[..., Any]] = (),
        l2: float = 0.0,
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
        self.backend = backends.backend(backend)
        self.backend.dtype(dtype)  # complains now if the device lacks it
        choose(compile, self.backend.xp)  # likewise
        self.compile = compile
        self.key, self.seed = rng.key(seed), int(seed)
        self.callbacks = check_callbacks(callbacks)
        self.metrics = named_metrics(metrics, targets.kind_of(self.loss))
        self.l2 = checks.not_negative("l2", l2, "pass 0 for no penalty")
        self.clip_norm = unless_none(checks.positive, "clip_norm", clip_norm)
        self.clip_value = unless_none(checks.positive, "clip_value", clip_value)
        self.max_steps = unless_none(checks.count, "max_steps", max_steps)
        self.patience = unless_none(checks.count, "patience", patience)
        self.min_delta = checks.not_negative("min_delta", min_delta)
        self.restore_best = unless_none(checks.flag, "restore_best", restore_best)
        self.rollback = checks.flag("rollback", rollback)
        self.progress = unless_none(checks.flag, "progress", progress)

        self.variables: Variables | None = None
        self.opt_state: dict[str, Any] | None = None
        self.epoch = self.step = 0
        self.history = History()
        self.best: Best | None = None
        self.newest: Variables | None = None
        self.training_rows: Rows | None = None
        self.training_batch: int | None = None
        self.input_shape: tuple[int, ...] | None = None
        self._plan: Batches | None = None
        self._compiled: CompiledSteps | None = None
        self._evaluation = Evaluation()

    # --- training ------------------------------------------------------------------------------------

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

        Whatever ends an epoch early (divergence, Ctrl-C, an error in a callback), the trainer is left as it
        was after the last whole epoch (see ``rollback``), and can be saved, used, or trained further. A
        changed ``optimizer`` whose state is of another form begins with a fresh one.
        """
        epochs = checks.count("epochs", epochs)
        train, held_out = split(self, X, y, sample_weight, class_weight, validation)
        self._check_validation(held_out)
        plan = Batches(train.X.shape[0], batch_size, self.batches, self.key, self.backend).or_same(self._plan)
        self._plan = plan
        bar = for_terminal(self.progress)
        callbacks = [*self.callbacks, *([bar] if bar else [])]
        patience = Patience(self.patience, self.min_delta).after(self.history)
        self._start(tuple(train.X.shape[1:]))
        with self.backend.activate(), contextlib.ExitStack() as ending:
            self._compiled = compiled_steps(self, train, self._compiled)
            self.training_rows, self.training_batch = train, plan.size or plan.rows
            ending.callback(self._forget_rows)
            for callback in callbacks:
                callback.on_fit_begin(self, epochs)
                ending.callback(callback.on_fit_end, self, self.history)
            while self.epoch < epochs and not self._exhausted() and not patience.lost:
                row = self._train_epoch(train, held_out, plan, callbacks)
                patience.see(row)
                answers = [callback.on_epoch_end(self, row) for callback in callbacks]
                if any(answers):
                    break
            if held_out is not None and self._restores_best() and self.best is not None:
                self.newest, self.variables = self.variables, self.best.variables
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
            if self._compiled is not None:
                self._compiled.begin_epoch(plan)
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
        with self.between_epochs(rows.X.shape[0]):
            return self._evaluation.measure(self, rows, with_loss=with_loss, again=True)

    def between_epochs(self, rows: int) -> contextlib.AbstractContextManager[None]:
        """Return what goes around computations on so many rows between epochs, for the sake of the next."""
        steps = self._compiled
        return contextlib.nullcontext() if steps is None else steps.between_epochs(rows)

    def _chunk(self, watching: list[Callback]) -> int:
        """Return how many steps are taken at a time: all that are looked at together."""
        if self._compiled is None:
            return 1
        steps = min(_LOG_STEPS, self._compiled.at_a_time(), *(c.steps_apart for c in watching))
        return steps if self.max_steps is None else max(1, min(steps, self.max_steps - self.step))

    def _take_steps(self, train: Rows, orders: Any, count: int, *, donate: bool) -> Any:
        """Take ``count`` steps on the rows ``orders`` (steps, batch); returns their losses, on the device."""
        if self._compiled is not None:
            return self._compiled.run(orders, count, donate=donate)
        loss = self.single_step(train.take(None if orders is None else orders[0, ...]))
        return self.backend.xp.reshape(loss, (1,))

    def single_step(self, batch: Rows) -> Any:
        """Take one step, uncompiled: forward, backward, clip, update. Returns its loss, on the device."""
        params, state = self.variables  # type: ignore[misc]
        key = self.step_key(self.step + 1)
        (loss, new_state), gradient = self.clipped_objective(params, state, batch, key)
        params, self.opt_state = self.optimizer.update(gradient, self.opt_state, params)  # type: ignore[arg-type]
        self.variables = Variables(params, new_state)
        self.step += 1
        return loss

    def step_key(self, step: int) -> rng.Key:
        """Return the randomness of a step: it depends on the seed and the step's number alone."""
        return self.key.fold("step", step)

    def clipped_objective(self, params: Any, state: Any, batch: Rows, key: rng.Key) -> tuple[Any, Any]:
        """Return ``((loss, new state), gradient)`` of a batch, the gradient clipped as was asked for."""
        done, gradient = self._objective(params, state, batch, key)
        if self.clip_value is not None:
            gradient = optim.clip_by_value(gradient, self.clip_value)
        if self.clip_norm is not None:
            gradient = optim.clip_by_norm(gradient, self.clip_norm)
        return done, gradient

    def _make_objective(self) -> Callable[..., Any]:
        """Return the function ``(params, state, batch, key) -> ((loss, new state), gradient)``."""

        def objective(params: Any, state: Any, batch: Rows, key: rng.Key) -> tuple[Any, Any]:
            outputs, state = self.model.apply(Variables(params, state), batch.X, training=True, key=key)
            loss = self.loss_of(outputs, batch)
            if self.l2:
                weights = params.flat * self._weight_mask
                loss = loss + self.l2 * (weights @ weights)
            return loss, state

        return value_and_grad(objective, has_aux=True)

    def loss_of(self, outputs: Any, rows: Rows) -> Any:
        """Return the mean loss of outputs for rows."""
        if rows.weight is None:
            return self.loss(outputs, rows.y)
        return self.loss(outputs, rows.y, sample_weight=rows.weight)

    # --- what fit relies on --------------------------------------------------------------------------

    def _forget_rows(self) -> None:
        self.training_rows = self.training_batch = None

    def _check_validation(self, held_out: Rows | None) -> None:
        if held_out is not None:
            return
        for name in ("patience", "restore_best", "min_delta"):
            if getattr(self, name):
                raise ConfigError(
                    f"{name}: expected a validation set to go by, found none; pass validation=0.1, say"
                )

    def _start(self, input_shape: tuple[int, ...]) -> None:
        """Draw the variables before the first epoch, and make what every step needs."""
        if self.variables is None:
            self.variables = self.model.init(self.seed, input_shape, self.backend, self.dtype)
            self.input_shape = input_shape
        if self.newest is not None:
            self.variables, self.newest = self.newest, None
        if not self._has_state_of(self.optimizer):
            with self.backend.activate():
                fresh = self.optimizer.init(self.variables.params)
            if self.opt_state is None or self.opt_state.keys() != fresh.keys():
                self.opt_state = fresh
        self._weight_mask = self._mask_weights() if self.l2 else None
        self._objective = self._make_objective()

    def _has_state_of(self, optimizer: optim.Optimizer) -> bool:
        """True if the state is known to be of the optimizer's form, without making one for comparison."""
        usual = type(optimizer).init is optim.Optimizer.init
        return usual and self.opt_state is not None and self.opt_state.keys() == {"step", *optimizer.slots}

    def _mask_weights(self) -> Any:
        """Return a vector like the parameters: 1 at weights, 0 at biases, scales and shifts."""
        layout = self.variables.params.layout  # type: ignore[union-attr]
        mask = np.zeros(layout.size)
        for part, shape in layout.slices:
            mask[part] = len(shape) > 1
        return self.backend.asarray(mask, dtype=self.dtype)

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

    # --- use -----------------------------------------------------------------------------------------

    def outputs(self, X: Any) -> Any:
        """Return the model's raw outputs for ``X`` on the device, computed in batches."""
        self._check_trained()
        X = check_inputs(self, X)
        with self.backend.activate():
            return self._evaluation.outputs(self, self.backend.asarray(X, dtype=self.dtype))

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions for ``X`` (batch, features) as a host array.

        For a classifier, what the targets were: class indices (batch,), or ±1 for a hinge. Otherwise
        values: (batch,) for one output, (batch, outputs) for several.
        """
        outputs = self.outputs(X)
        if targets.is_classifier(self.loss):
            return targets.predicted_classes(self.loss, self.backend.to_host(outputs))
        with self.backend.activate():
            values = self.backend.to_host(targets.link_of(self.loss)(outputs))
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities (batch, classes) for ``X`` as a host array; each row sums to 1."""
        with self.backend.activate():
            return self.backend.to_host(targets.probabilities(self.loss, self.outputs(X)))

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Return the loss and the metrics on given rows."""
        self._check_trained()
        rows = prepare(self, X, y, sample_weight)
        with self.backend.activate():
            return self._evaluation.measure(self, rows)

    def _check_trained(self) -> None:
        if self.variables is None:
            raise ConfigError(
                "trainer: expected one that has been trained, found one without variables; call fit first"
            )

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
        loss: Callable[..., Any] | None = None,
        optimizer: optim.Optimizer | None = None,
        **settings: Any,
    ) -> Trainer:
        """Return the trainer that :meth:`save` wrote, on any backend.

        Args:
            folder: what was given to :meth:`save`.
            backend: where to go on.
            model, loss, optimizer: those of the user's own making, which a file cannot hold, or others to go
                on with; an optimizer whose state is of another form begins with a fresh one.
            settings: arguments of :class:`Trainer` that are not stored (callbacks, progress, metrics of the
                user's own making) or shall change.

        Raises:
            CheckpointError: missing, damaged, written by a newer version, or of another model than the given.
        """
        return persistence.load(cls, folder, backend, model=model, loss=loss, optimizer=optimizer, **settings)
