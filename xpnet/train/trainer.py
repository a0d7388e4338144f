"""The trainer: shuffle, batch, forward, backward, update, validate, stop."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet import backends, losses, optim, rng
from xpnet.autodiff import value_and_grad
from xpnet.backends import Backend
from xpnet.checks import check_number, check_whole
from xpnet.data import check_arrays
from xpnet.errors import ConfigError, DivergedError
from xpnet.nn import Layer, Variables
from xpnet.train import metrics as metric_functions
from xpnet.train import persistence, progress, targets
from xpnet.train.batches import Batches
from xpnet.train.callbacks import Callback
from xpnet.train.divergence import all_finite, first_nonfinite_layer, nonfinite_parameter
from xpnet.train.history import Best, History
from xpnet.train.rows import Rows, check_width, prepare, split, to_host

__all__ = ["Trainer"]

_LOG_STEPS = 1000  # within an epoch, losses are looked at this often
_EVALUATION_ROWS = 4096


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
        compile: ``"auto"`` or ``"off"``; both run the recorded functions directly.
        callbacks: :class:`~xpnet.train.Callback` objects.
        metrics: names (``"accuracy"``, ``"r2"``) or functions ``(outputs, targets) -> 0-d array``, computed after
            each epoch on the training and the validation rows.
        l2: factor of the penalty Σ w².
        clip_norm, clip_value: bounds for the gradient's norm and entries; None for no bound.
        batches: ``"reshuffle"`` for new batches each epoch, ``"fixed"`` for batches drawn once and kept.
        max_steps: stop after this many steps in all; None for no limit.
        patience: stop when the validation loss has not fallen for this many epochs; None: never.
        min_delta: by how much it must fall to count.
        restore_best: whether to end with the variables of the lowest validation loss; by default if
            ``patience`` is set.
        progress: None shows a bar on a terminal and nothing elsewhere; False shows nothing.

    Attributes:
        variables: parameters and state (None before training), ``opt_state``, ``epoch``, ``step``, ``history``,
        best: variables with the lowest validation loss so far, or None.

    Raises:
        ConfigError: settings that are unknown or contradict each other.
        BackendError: the backend cannot work here.

    Example:
        >>> from xpnet import Trainer, nn
        >>> from xpnet.data import two_gaussians_arrays
        >>> X, y = two_gaussians_arrays(n=200, seed=0)
        >>> trainer = Trainer(nn.MLP([8], 2), "softmax_cross_entropy", "adam", backend="numpy", metrics=["accuracy"])
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
        progress: bool | None = None,
    ):
        if not isinstance(model, Layer):
            raise ConfigError(f"model: expected a layer or model of xpnet.nn, found {model!r}")
        if dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype: expected 'float32' or 'float64', found {dtype!r}")
        if compile not in ("auto", "off"):
            raise ConfigError(f"compile: expected 'auto' or 'off', found {compile!r}")
        check_number("l2", l2)
        check_number("min_delta", min_delta)
        check_whole("max_steps", max_steps)
        check_whole("patience", patience)
        if batches not in ("reshuffle", "fixed"):
            raise ConfigError(f"batches: expected 'reshuffle' or 'fixed', found {batches!r}")
        for name, bound in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if bound is not None:
                check_number(name, bound, above=True)
        self.model, self.loss, self.optimizer = model, losses.get(loss), optim.get(optimizer)
        self.backend = backends.backend(backend)
        self.backend.dtype(dtype)  # complains now if the device lacks it
        self.dtype, self.seed, self.compile = dtype, seed, compile
        self.key = rng.key(seed)
        self.callbacks = list(callbacks)
        self.metrics = dict(metric_functions.get(metric) for metric in metrics)
        self.l2, self.clip_norm, self.clip_value = float(l2), clip_norm, clip_value
        self.batches, self.max_steps = batches, max_steps
        self.patience, self.min_delta = patience, min_delta
        self.restore_best = patience is not None if restore_best is None else restore_best
        self.progress = progress

        self.variables: Variables | None = None
        self.opt_state: dict[str, Any] | None = None
        self.epoch = self.step = 0
        self.history = History()
        self.best: Best | None = None
        self.input_shape: tuple[int, ...] | None = None

    # --- training ------------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        epochs: int,
        batch_size: int | None = None,
        validation: float | tuple[Any, Any] | None = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | str | None = None,
    ) -> History:
        """Train until ``epochs`` epochs are done in all; one that was trained or loaded before goes on.

        Args:
            X: inputs (batch, features), finite numbers, on the host or any device.
            y: targets as the loss wants them: class indices (batch,), values (batch,) or (batch, outputs).
            epochs: number of passes over the training rows, counted from the first call.
            batch_size: rows of a step; None for all (full batch), 1 for single samples.
            validation: a fraction of the rows to split off, or a pair ``(X, y)``.
            sample_weight: (batch,), weights of the rows in the loss.
            class_weight: weight of each class index, or ``"balanced"`` for n / (classes · count).

        Returns:
            The history, one row an epoch; also kept as ``self.history``.

        Raises:
            DataError: arrays that do not fit or are not finite.
            ConfigError: a batch larger than the rows, patience without validation, ...
            DivergedError: the loss is NaN or infinite; the trainer keeps the state after the last good epoch.
        """
        check_whole("epochs", epochs)
        train, held_out = split(self, X, y, sample_weight, class_weight, validation)
        self._start(tuple(train.X.shape[1:]))
        if self.patience is not None and held_out is None:
            raise ConfigError("patience: expected a validation set to stop by, found none; pass validation=0.1")
        plan = Batches(train.X.shape[0], batch_size, self.batches, self.key, self.backend)
        bar = None if self.progress is False else progress.for_terminal()
        callbacks = [*self.callbacks, *([bar] if bar else [])]
        with self.backend.activate():
            for callback in callbacks:
                callback.on_fit_begin(self, epochs)
            try:
                while self.epoch < epochs and not self._exhausted():
                    row = self._train_epoch(train, held_out, plan, callbacks)
                    stops = [callback.on_epoch_end(self, row) for callback in callbacks]
                    if any(stops) or self._lost_patience():
                        break
            finally:
                for callback in callbacks:
                    callback.on_fit_end(self, self.history)
        if self.restore_best and self.best is not None:
            self.variables = self.best.variables
        return self.history

    def _train_epoch(
        self, train: Rows, held_out: Rows | None, plan: Batches, callbacks: list[Callback]
    ) -> dict[str, Any]:
        """Train one epoch and return its row; on any exception everything is as it was before the epoch."""
        begun = time.perf_counter()
        before = self.variables, self.opt_state, self.step
        watching = [c for c in callbacks if type(c).on_step_end is not Callback.on_step_end]
        seen: list[Any] = []
        counts: list[int] = []
        try:
            for number, (order, count) in enumerate(plan.epoch(self.epoch + 1), start=1):
                seen.append(self._step(train.take(order, self.backend.xp)))
                counts.append(count)
                for callback in watching:
                    callback.on_step_end(self, number, len(plan))
                if number % _LOG_STEPS == 0:
                    self._check_finite(seen, before, train, plan)
                if self._exhausted():
                    break
            values = self._check_finite(seen, before, train, plan)
            row = {
                "epoch": self.epoch + 1,
                "step": self.step,
                "loss": float(np.average(values, weights=counts)),
                **self._measure(train, with_loss=False),
            }
            if held_out is not None:
                measured = self._measure(held_out)
                row |= {f"validation_{name}": value for name, value in measured.items()}
            row["learning_rate"] = self.optimizer.learning_rate_at(self.step)
            row["seconds"] = round(time.perf_counter() - begun, 6)
        except BaseException:
            self.variables, self.opt_state, self.step = before
            raise
        self.epoch += 1
        self.history.append(row)
        self._keep_best(row)
        return row

    def _step(self, batch: Rows) -> Any:
        """Take one step: forward, backward, clip, update. Returns the loss, still on the device."""
        params, state = self.variables  # type: ignore[misc]
        (loss, new_state), gradient = self._objective(params, state, batch, self._step_key(self.step + 1))
        if self.clip_value is not None:
            gradient = optim.clip_by_value(gradient, self.clip_value)
        if self.clip_norm is not None:
            gradient = optim.clip_by_norm(gradient, self.clip_norm)
        params, self.opt_state = self.optimizer.update(gradient, self.opt_state, params)  # type: ignore[arg-type]
        self.variables = Variables(params, new_state)
        self.step += 1
        return loss

    def _step_key(self, step: int) -> rng.Key:
        """Return the randomness of a step: it depends on the seed and the step's number alone."""
        return self.key.fold("step", step)

    def _make_objective(self) -> Callable[..., Any]:
        """Return the function ``(params, state, batch, key) -> ((loss, new state), gradient)``."""

        def objective(params: Any, state: Any, batch: Rows, key: rng.Key) -> tuple[Any, Any]:
            outputs, state = self.model.apply(Variables(params, state), batch.X, training=True, key=key)
            loss = self._loss_of(outputs, batch)
            if self.l2:
                weights = params.flat * self._weight_mask
                loss = loss + self.l2 * (weights @ weights)
            return loss, state

        return value_and_grad(objective, has_aux=True)

    def _loss_of(self, outputs: Any, rows: Rows) -> Any:
        if rows.weight is None:
            return self.loss(outputs, rows.y)
        return self.loss(outputs, rows.y, sample_weight=rows.weight)

    # --- what fit relies on --------------------------------------------------------------------------

    def _start(self, input_shape: tuple[int, ...]) -> None:
        """Draw the variables before the first epoch, and make what every step needs."""
        if self.variables is None:
            self.input_shape = input_shape
            self.variables = self.model.init(self.seed, input_shape, self.backend, self.dtype)
        if self.opt_state is None:
            self.opt_state = self.optimizer.init(self.variables.params)
        self._weight_mask = self._mask_weights() if self.l2 else None
        self._objective = self._make_objective()

    def _mask_weights(self) -> Any:
        """Return a vector like the parameters: 1 at weights, 0 at biases, scales and shifts."""
        layout = self.variables.params.layout  # type: ignore[union-attr]
        mask = np.zeros(layout.size)
        for part, shape in layout.slices:
            mask[part] = len(shape) > 1
        return self.backend.asarray(mask, dtype=self.dtype)

    def _exhausted(self) -> bool:
        return self.max_steps is not None and self.step >= self.max_steps

    def _keep_best(self, row: dict[str, Any]) -> None:
        loss = row.get("validation_loss")
        if loss is not None and (self.best is None or loss < self.best.loss - self.min_delta):
            self.best = Best(self.variables, self.epoch, loss)  # type: ignore[arg-type]

    def _lost_patience(self) -> bool:
        return self.patience is not None and self.best is not None and self.epoch - self.best.epoch >= self.patience

    def _check_finite(self, seen: list[Any], before: Any, train: Rows, plan: Batches) -> np.ndarray:
        """Return the epoch's losses on the host (one transfer), or say where they stopped being finite."""
        xp = self.backend.xp
        values = self.backend.to_host(xp.stack(seen)).astype(np.float64)
        params = self.variables.params  # type: ignore[union-attr]
        epoch = self.epoch + 1
        if not np.isfinite(values).all():
            number = int(np.argmin(np.isfinite(values))) + 1
            value = values[number - 1]
            layer, step = self._find_divergence(number, before, train, plan)
            what = f"the loss is {value}"
        elif not all_finite(params.flat):
            layer, step, what = nonfinite_parameter(params), self.step, "a parameter is not finite"
        else:
            return values
        raise DivergedError(
            f"diverged in epoch {epoch}, step {step}: {what}, first not finite in {layer}. The state after epoch "
            f"{self.epoch} is kept; lower the learning rate, set clip_norm, or check the data's scale",
            epoch=epoch,
            step=step,
            layer=layer,
        )

    def _find_divergence(self, number: int, before: Any, train: Rows, plan: Batches) -> tuple[str, int]:
        """Repeat the epoch up to its bad step ``number`` (draws repeat exactly) and look into the layers."""
        self.variables, self.opt_state, self.step = before
        for order, _ in plan.epoch(self.epoch + 1):
            number -= 1
            batch = train.take(order, self.backend.xp)
            if number == 0:
                key = self._step_key(self.step + 1)
                return first_nonfinite_layer(self.model, self.variables, batch.X, key), self.step + 1
            self._step(batch)
        raise AssertionError("the bad step lies within the epoch")

    # --- use -----------------------------------------------------------------------------------------

    def outputs(self, X: Any) -> Any:
        """Return the model's raw outputs for ``X`` on the device, computed in batches."""
        self._check_trained()
        X = check_arrays(to_host(X), dtype=self.dtype).X
        check_width(self, X)
        with self.backend.activate():
            return self._forward(self.backend.asarray(X, dtype=self.dtype))

    def _forward(self, X: Any) -> Any:
        n = X.shape[0]
        parts = [
            self.model.apply(self.variables, X[start : min(start + _EVALUATION_ROWS, n), ...])  # type: ignore[arg-type]
            for start in range(0, n, _EVALUATION_ROWS)
        ]
        return parts[0] if len(parts) == 1 else self.backend.xp.concat(parts)

    def _measure(self, rows: Rows, *, with_loss: bool = True) -> dict[str, float]:
        """Return the loss and the metrics on ``rows``, outside training mode; one transfer in all."""
        if not with_loss and not self.metrics:
            return {}
        outputs = self._forward(rows.X)
        named = {"loss": self._loss_of(outputs, rows)} if with_loss else {}
        predictions = outputs if targets.is_classifier(self.loss) else self._linked(outputs)
        for name, metric in self.metrics.items():
            named[name] = metric(predictions, rows.y)
        values = self.backend.to_host(self.backend.xp.stack(list(named.values())))
        return dict(zip(named, (float(v) for v in values), strict=True))

    def _linked(self, outputs: Any) -> Any:
        return getattr(self.loss, "link", lambda y: y)(outputs)

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions for ``X`` (batch, features) as a host array.

        For a classifier, what the targets were: class indices (batch,), or ±1 for a hinge. Otherwise
        values: (batch,) for one output, (batch, outputs) for several.
        """
        outputs = self.outputs(X)
        if targets.is_classifier(self.loss):
            return targets.predicted_classes(self.loss, self.backend.to_host(outputs))
        with self.backend.activate():
            values = self.backend.to_host(self._linked(outputs))
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
            return self._measure(rows)

    def _check_trained(self) -> None:
        if self.variables is None:
            raise ConfigError("this trainer has not been trained; call fit, or Trainer.load")

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
            model, loss, optimizer: those of the user's own making, which a file cannot hold.
            settings: arguments of :class:`Trainer` that are not stored (callbacks, progress) or shall change.

        Raises:
            CheckpointError: missing, damaged, or written by a newer version.
        """
        return persistence.load(cls, folder, backend, model=model, loss=loss, optimizer=optimizer, **settings)
