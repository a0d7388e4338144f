"""What a step of a trainer minimizes, and the gradient with which it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xpnet import optim, rng
from xpnet.autodiff import value_and_grad
from xpnet.autodiff.scopes import scope, snake_case
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.train import regularization, targets
from xpnet.train.rows import Rows

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["StepObjective"]


class StepObjective:
    r"""The mean loss over a batch and the penalties, $J + \sum_i \lambda_i |w_i| + \mu_i w_i^2$.

    Args:
        trainer: whose settings count; its variables are drawn.

    Attributes:
        settings: what the functions depend on beside shapes: two objectives of equal settings are the same.
        noisy: whether noise is added to gradients.
    """

    def __init__(self, trainer: Trainer):
        self.model, self.loss = trainer.model, trainer.loss
        self._loss_scope = f"{snake_case(getattr(self.loss, '__name__', type(self.loss).__name__))}_forward"
        self.layout = trainer.variables.params.layout  # type: ignore[union-attr]
        self._smoothing = trainer.label_smoothing
        self._clip_norm, self._clip_value = trainer.clip_norm, trainer.clip_value
        self._max_norm = trainer.max_norm
        self.noisy = trainer.gradient_noise > 0.0
        self.settings = (
            self.model, self.loss, self.layout, trainer.l1, trainer.l2, self._smoothing, self._clip_norm,
            self._clip_value, self._max_norm, self.noisy,
        )  # fmt: skip
        regularization.check_smoothing(self.loss, self._smoothing)
        self._l1, self._l2 = (self._factors(trainer, name) for name in ("l1", "l2"))

    def _factors(self, trainer: Trainer, name: str) -> Any:
        """Return the factors of a penalty on the device; None without one."""
        factors = getattr(trainer, name)
        if not factors:
            return None
        found = regularization.penalty_factors(name, factors, self.layout)
        return trainer.backend.asarray(found, dtype=trainer.dtype)

    def value(
        self, params: Parameters, state: Any, batch: Rows, key: rng.Key | None, mask: Any = None
    ) -> tuple[Any, Any]:
        """Return the objective of a batch, a 0-d array, and the model's new state.

        Args:
            params: parameters; where ``mask`` is 0 they count as 0.
            state: the model's.
            batch: rows.
            key: of the step; None for a model that draws nothing.
            mask: of the flat vector, or None.
        """
        outputs, params, state = self.outputs(params, state, batch, key, mask)
        return self.value_of(outputs, params, batch), state

    def outputs(
        self, params: Parameters, state: Any, batch: Rows, key: rng.Key | None, mask: Any = None
    ) -> tuple[Any, Parameters, Any]:
        """Return the model's outputs in training, the parameters that count, and its new state."""
        if mask is not None:
            params = Parameters(params.flat * mask, params.layout)
        outputs, state = self.model.apply(Variables(params, state), batch.X, training=True, key=key)
        return outputs, params, state

    def value_of(self, outputs: Any, params: Parameters, batch: Rows) -> Any:
        """Return the objective of outputs and parameters."""
        y = batch.y
        if self._smoothing:
            y = regularization.smoothed(self.loss, y, outputs, self._smoothing)
        with scope(self._loss_scope):
            loss = targets.mean_loss(self.loss, outputs, y, sample_weight=batch.weight)
        flat = params.flat
        with scope("penalty_forward"):
            if self._l2 is not None:
                loss = loss + flat @ (flat * self._l2)
            if self._l1 is not None:
                loss = loss + abs(flat) @ self._l1
        return loss

    def gradient(
        self, params: Parameters, state: Any, batch: Rows, key: rng.Key, *, mask: Any, noise: Any
    ) -> tuple[tuple[Any, Any], Parameters]:
        """Return ``((objective, new state), gradient)``, the gradient clipped and noisy as was asked for.

        Args:
            params, state, batch, key, mask: as for `value`.
            noise: standard deviation of the noise, a number or 0-d array.
        """
        # Made anew for each call: kept, it would have this object, and this object it.
        done, gradient = value_and_grad(self.value, has_aux=True)(params, state, batch, key, mask)
        with scope("gradient_clipping"):
            if self._clip_value is not None:
                gradient = optim.clip_by_value(gradient, self._clip_value)
            if self._clip_norm is not None:
                gradient = optim.clip_by_norm(gradient, self._clip_norm)
        if self.noisy:
            flat = gradient.flat
            with scope("gradient_noise"):
                gradient = Parameters(flat + regularization.noise(key, flat, noise), gradient.layout)
        return done, gradient

    def constrained(self, flat: Any, mask: Any) -> Any:
        """Return updated parameters within the bounds: of norms, and 0 where the mask is."""
        with scope("parameter_bounds"):
            if self._max_norm is not None:
                flat = regularization.bounded(flat, self.layout, self._max_norm)
            return flat if mask is None else flat * mask
