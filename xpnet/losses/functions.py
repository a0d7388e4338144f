"""The losses of xpnet; see :mod:`xpnet.losses`."""

from __future__ import annotations

from typing import Any

from xpnet import checks
from xpnet.autodiff.functions import cross_entropy, log_softmax, logistic_loss, relu, sigmoid, softmax
from xpnet.autodiff.tracer import device_of, is_floating
from xpnet.backends import array_namespace
from xpnet.errors import DataError
from xpnet.losses.registry import aligned, exponential, register, row_sum

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "distributions",
    "hinge",
    "huber",
    "kl_divergence",
    "multiclass_hinge",
    "poisson",
    "softmax_cross_entropy",
    "squared_error",
    "symmetric_kl",
]


@register(targets="values")
def squared_error(predictions: Any, targets: Any) -> Any:
    """Squared error Σⱼ (ŷⱼ - yⱼ)² of values (batch,) or (batch, outputs). Source: notes 002 and 004."""
    difference = _difference(predictions, targets)
    return row_sum(difference * difference)


@register(targets="values")
def absolute_error(predictions: Any, targets: Any) -> Any:
    """Absolute error Σⱼ |ŷⱼ - yⱼ|; the subgradient 0 is taken at 0."""
    difference = _difference(predictions, targets)
    return row_sum(array_namespace(difference).abs(difference))


@register(targets="values", options={"delta": checks.positive})
def huber(predictions: Any, targets: Any, *, delta: float = 1.0) -> Any:
    """Huber's loss: ½ d² where |d| ≤ δ, else δ (|d| - ½ δ), summed over outputs.

    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    difference = _difference(predictions, targets)
    xp = array_namespace(difference)
    size = xp.abs(difference)
    return row_sum(xp.where(size <= delta, 0.5 * difference * difference, delta * (size - 0.5 * delta)))


@register(targets="binary", link=sigmoid)
def binary_cross_entropy(predictions: Any, targets: Any) -> Any:
    """-t log σ(z) - (1 - t) log(1 - σ(z)) of logits z, summed over outputs.

    Targets are 0/1 or probabilities, (batch,) or one column for each output (multi-label).
    Source: note 000, section 3.1.
    """
    logits, targets = aligned(predictions, targets)
    return row_sum(logistic_loss(logits, targets))


@register(targets="classes", link=softmax)
def softmax_cross_entropy(predictions: Any, targets: Any) -> Any:
    """-Σₖ tₖ log softmax(z)ₖ of logits z (batch, classes).

    Targets are class indices (batch,), or one-hot rows or probabilities (batch, classes).
    Source: note 000, section 3.2, and note 003.
    """
    indices = tuple(targets.shape) != tuple(predictions.shape)
    rows = distributions("softmax_cross_entropy", predictions, targets)
    return cross_entropy(predictions, rows, normalized=indices)


@register(targets="signs")
def hinge(predictions: Any, targets: Any) -> Any:
    """max(0, 1 - t y) for targets t = ±1, summed over outputs; the subgradient 0 is taken at the kink.

    Source: note 004, section 19.122.
    """
    scores, targets = aligned(predictions, targets)
    return row_sum(relu(1 - array_namespace(scores, targets).multiply(scores, targets)))


@register(targets="classes")
def multiclass_hinge(predictions: Any, targets: Any) -> Any:
    """max(0, 1 + max_{j≠y} zⱼ - z_y) of scores z (batch, classes); 0 at the kink.

    Targets are class indices (batch,) or one-hot rows (batch, classes).
    Source: Crammer and Singer, "On the algorithmic implementation of multiclass kernel-based vector
    machines", 2001. (PyTorch's MultiMarginLoss sums over all classes instead.)
    """
    xp = array_namespace(predictions, targets)
    one_hot = distributions("multiclass_hinge", predictions, targets)
    right = xp.sum(xp.multiply(predictions, one_hot), axis=-1)
    runner_up = xp.max(xp.where(one_hot > 0, -float("inf"), predictions), axis=-1)
    return relu(1 + (runner_up - right))


@register(targets="classes", link=softmax)
def kl_divergence(predictions: Any, targets: Any) -> Any:
    """Σₖ tₖ log(tₖ / qₖ) of logits, q = softmax(z), with 0 log 0 = 0.

    Targets are probabilities (batch, classes), or class indices (batch,), for which it equals the cross
    entropy. Source: note 004, section 19.124.
    """
    targets = distributions("kl_divergence", predictions, targets)
    xp = array_namespace(targets)
    log_targets = xp.log(xp.where(targets > 0, targets, 1.0))
    xp = array_namespace(predictions, targets)
    return xp.add(cross_entropy(predictions, targets), xp.sum(targets * log_targets, axis=-1))


@register(targets="classes", link=softmax)
def symmetric_kl(predictions: Any, targets: Any) -> Any:
    """KL(t‖q) + KL(q‖t) = Σₖ (tₖ - qₖ)(log tₖ - log qₖ) of logits, q = softmax(z).

    Targets are as for :func:`kl_divergence`; probabilities below the dtype's precision ε count as ε,
    since KL(q‖t) is infinite at tₖ = 0. Source: note 004, section 19.124.
    """
    targets = distributions("symmetric_kl", predictions, targets)
    xp = array_namespace(targets)
    log_targets = xp.log(xp.maximum(targets, float(xp.finfo(targets.dtype).eps)))
    log_q = log_softmax(predictions)
    xp = array_namespace(log_q, targets)
    return xp.sum(xp.multiply(xp.exp(log_q) - targets, log_q - log_targets), axis=-1)


@register(targets="counts", link=exponential)
def poisson(predictions: Any, targets: Any) -> Any:
    """exp(z) - t z, the negative log-likelihood of counts t with rate exp(z), up to log t!.

    Targets are counts (batch,) or (batch, outputs). The rate itself overflows where z exceeds the
    logarithm of the largest number of the dtype (88 in float32, 709 in float64).
    """
    scores, targets = aligned(predictions, targets)
    xp = array_namespace(scores, targets)
    return row_sum(xp.subtract(xp.exp(scores), xp.multiply(scores, targets)))


def _difference(predictions: Any, targets: Any) -> Any:
    predictions, targets = aligned(predictions, targets)
    return array_namespace(predictions, targets).subtract(predictions, targets)


def distributions(name: str, predictions: Any, targets: Any) -> Any:
    """Return targets as rows of probabilities (batch, classes): one-hot rows for class indices (batch,).

    Raises:
        DataError: shapes that do not fit the predictions'; ``name`` is the loss in the message.
    """
    shape, found = tuple(predictions.shape), tuple(targets.shape)
    if len(shape) != 2 or shape[1] < 2:
        raise DataError(
            f"{name}: expected predictions of shape (batch, classes) with at least 2 classes, found {shape}; "
            "use binary_cross_entropy for one output"
        )
    xp = array_namespace(targets)
    whole = not is_floating(targets)
    if found == shape:
        return xp.astype(targets, predictions.dtype) if whole else targets
    if whole and found in ((shape[0],), (shape[0], 1)):
        if targets.dtype == xp.bool or xp.iinfo(targets.dtype).max < shape[1]:
            targets = xp.astype(targets, xp.int32)  # the classes are counted in the labels' dtype
        classes = xp.arange(shape[1], dtype=targets.dtype, device=device_of(targets))
        return xp.astype(xp.reshape(targets, (-1, 1)) == classes, predictions.dtype)
    raise DataError(
        f"{name}: expected class indices of shape ({shape[0]},) or probabilities of shape {shape} for "
        f"predictions of shape {shape}, found targets of shape {found} and dtype {targets.dtype}"
    )
