"""Gradient noise scale: the noise of batches' gradients, and the batch size that it calls for."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from xpnet import checks
from xpnet.autodiff import value_and_grad
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.train.batches import Batches
from xpnet.train.diagnostics.trial import begun_copy
from xpnet.train.members import as_rows
from xpnet.train.rows import Rows
from xpnet.train.targets import mean_loss
from xpnet.train.trainer import Trainer

__all__ = ["GradientNoise", "gradient_noise"]


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """Estimates about the gradients of single rows, with mean G and covariance matrix Σ.

    Attributes:
        signal: ‖G‖²; being unbiased, it can come out negative where the noise is much larger.
        noise: tr Σ, the sum of the variances of all entries.
        scale: the simple noise scale B = tr Σ / ‖G‖²: batches much smaller are mostly noise, much larger ones
            waste work. Infinite where the estimate of ‖G‖² is not positive.
    """

    signal: float
    noise: float
    scale: float


def gradient_noise(trainer: Trainer, X: Any, y: Any, *, batch_size: int = 32) -> GradientNoise:
    """Estimate signal and noise of the loss's gradient at the trainer's parameters.

    The rows are drawn into K batches of ``batch_size`` = b rows, with gradients Gₖ and their mean Ḡ; those
    left over are not used. With S² = Σ ‖Gₖ - Ḡ‖² / (K - 1), the estimates tr Σ = b S² and
    ‖G‖² = ‖Ḡ‖² - S² / K are unbiased. The gradient is that of the loss, without penalties and clipping;
    Dropout and batch statistics are as in training. The trainer stays as it is.

    Args:
        trainer: trained or not.
        X, y: rows, as for :meth:`xpnet.Trainer.fit`.
        batch_size: rows of a batch; 1 takes gradients of single rows, the most precise and slowest way.

    Raises:
        ConfigError: fewer than two batches.
        DataError: arrays that do not fit or are not finite.

    Example:
        >>> import numpy as np
        >>> from xpnet import Trainer, nn
        >>> model = nn.Sequential(nn.Dense(1, bias=False, weight_init="zeros"))
        >>> trainer = Trainer(model, "squared_error", backend="numpy")
        >>> gradient_noise(trainer, np.ones((4, 1)), np.asarray([1.0, 2.0, 2.0, 3.0]), batch_size=1).scale
        0.17391304347826086

    Source: McCandlish et al., "An empirical model of large-batch training", 2018, section 2.2 and appendix A.
    """
    b = checks.count("batch_size", batch_size)
    other, rows = begun_copy(trainer, X, y)
    count = rows.X.shape[0] // b
    if count < 2:
        raise ConfigError(
            f"batch_size: expected at least two batches in {rows.X.shape[0]} rows, found {b}; lower it"
        )
    setup = other.setup
    params, state = other.variables

    def loss_of(params: Any, state: Any, batch: Rows, key: Any) -> Any:
        outputs, _ = setup.model.apply(Variables(params, state), batch.X, training=True, key=key)
        outputs, y, weight = as_rows(setup.model, outputs, batch.y, batch.weight)
        return mean_loss(setup.loss, outputs, y, sample_weight=weight)

    gradient_of, key = value_and_grad(loss_of), setup.key.fold("gradient noise").at_step(trainer.step + 1)
    batches = Batches(rows.X.shape[0], b, "reshuffle", key, setup.backend).epoch(0)
    xp = setup.backend.xp
    with setup.backend.activate():
        mean = xp.zeros_like(params.flat)
        squares = xp.sum(mean)  # Σ ‖Gₖ - Ḡ‖², summed up as Welford does: the mean may be much larger
        for number in range(1, count + 1):
            _, gradient = gradient_of(params, state, rows.take(next(batches)[0]), key.fold(number))
            difference = gradient.flat - mean
            mean = mean + difference / number
            squares = squares + xp.vecdot(difference, gradient.flat - mean)
        total, spread = setup.backend.to_host(xp.stack([xp.vecdot(mean, mean), squares])).tolist()
    variance = spread / (count - 1)
    signal, noise = total - variance / count, b * variance
    return GradientNoise(signal, noise, noise / signal if signal > 0 else math.inf)
