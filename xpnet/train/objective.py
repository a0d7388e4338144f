"""The objective that a step minimizes: the mean loss over a batch and the penalties."""

from __future__ import annotations

from typing import Any

from xpnet import rng
from xpnet.autodiff.scopes import scope, snake_case
from xpnet.backends import array_namespace
from xpnet.nn import Variables
from xpnet.parameters import Layout, Parameters
from xpnet.train import members, regularization, targets
from xpnet.train.rows import Rows
from xpnet.train.setup import Setup

__all__ = ["StepObjective"]


class StepObjective:
    r"""The mean loss over a batch and the penalties, $J + \sum_i \lambda_i |w_i| + \mu_i w_i^2$.

    With ``penalty_per_row`` the sum is divided by that of the rows' weights, or by their number.

    Args:
        setup: its model, loss and settings count.
        layout: of the model's parameters.

    Attributes:
        made_of: what the functions depend on beside shapes: objectives made of the same are the same.
    """

    def __init__(self, setup: Setup, layout: Layout):
        self.model, self.loss, self.layout = setup.model, setup.loss, layout
        self._loss_scope = f"{snake_case(getattr(self.loss, '__name__', type(self.loss).__name__))}_forward"
        self._smoothing = setup.settings.label_smoothing
        self._l1, self._l2 = (self._factors(setup, name) for name in ("l1", "l2"))
        self._per_row = setup.settings.penalty_per_row
        penalties = setup.settings.l1, setup.settings.l2, self._per_row
        self.made_of = (self.model, self.loss, layout, *penalties, self._smoothing)

    def _factors(self, setup: Setup, name: str) -> Any:
        """Return the factors of a penalty on the device; None without one."""
        factors = getattr(setup.settings, name)
        if not factors:
            return None
        found = regularization.penalty_factors(name, factors, self.layout)
        return setup.backend.asarray(found, dtype=setup.dtype)

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
        """Return the objective of outputs and parameters; of an ensemble the mean of the members'."""
        outputs, y, weight = members.as_rows(self.model, outputs, batch.y, batch.weight)
        if self._smoothing:
            y = regularization.smoothed(self.loss, y, outputs, self._smoothing)
        with scope(self._loss_scope):
            loss = targets.mean_loss(self.loss, outputs, y, sample_weight=weight)
        flat = params.flat
        with scope("penalty_forward"):
            if self._l2 is not None:
                loss = loss + self._share(array_namespace(flat).sum(flat * (flat * self._l2)), batch)
            if self._l1 is not None:
                loss = loss + self._share(array_namespace(flat).sum(abs(flat) * self._l1), batch)
        return loss

    def _share(self, penalty: Any, batch: Rows) -> Any:
        """Return a penalty, or what it is for each row where that is asked for."""
        if not self._per_row:
            return penalty
        if batch.weight is None:
            return penalty * (1 / batch.X.shape[0])
        total = array_namespace(batch.weight).sum(batch.weight)
        own = members.of_members(batch.weight)
        return penalty / (total if own is None else total / own.shape[1])
