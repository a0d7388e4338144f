"""Other names of losses, activations, optimizers, schedules and the like, which other libraries use.

What is stored and shown are the names of xpnet. Hyphens, underscores, blanks and capitals make no difference:
``"Cross-Entropy"`` and ``"cross_entropy"`` are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xpnet.checks import meant

__all__ = ["ALIASES", "canonical"]

_METHODS = {
    "conjugate_gradients": "cg",
    "gradient_descent": "gd",
    "hf": "hessian-free",
    "l_bfgs_b": "l-bfgs",
}
ALIASES: Mapping[str, Mapping[str, str]] = {
    "loss": {
        "bce": "binary_cross_entropy",
        "bce_with_logits": "binary_cross_entropy",
        "binary_crossentropy": "binary_cross_entropy",
        "categorical_crossentropy": "softmax_cross_entropy",
        "ce": "softmax_cross_entropy",
        "cross_entropy": "softmax_cross_entropy",
        "huber_loss": "huber",
        "kl": "kl_divergence",
        "kl_div": "kl_divergence",
        "kld": "kl_divergence",
        "l1": "absolute_error",
        "l2": "squared_error",
        "mae": "absolute_error",
        "mean_absolute_error": "absolute_error",
        "mean_squared_error": "squared_error",
        "mse": "squared_error",
        "poisson_nll": "poisson",
        "smooth_l1": "huber",
        "sparse_categorical_crossentropy": "softmax_cross_entropy",
    },
    "activation": {
        "linear": "identity",
        "logistic": "sigmoid",
        "lrelu": "leakyrelu",
        "none": "identity",
        "swish": "silu",
    },
    "optimizer": {**_METHODS, "stochastic_gradient_descent": "sgd"},
    "method": _METHODS,  # of optim.minimize
    "initializer": {
        "he+5": "he_plus",
        "kaiming_normal": "he_normal",
        "kaiming_uniform": "he_uniform",
        "xavier_normal": "glorot_normal",
        "xavier_uniform": "glorot_uniform",
        "zero": "zeros",
    },
    "schedule": {"cos": "cosine", "coslog4": "coslog", "flat_cos": "flat_cosine"},
    "metric": {
        "acc": "accuracy",
        "mean_absolute_error": "mae",
        "r_squared": "r2",
        "r²": "r2",
        "root_mean_squared_error": "rmse",
    },
}


def canonical(kind: str, name: object, known: Iterable[str]) -> str | None:
    """Return the known name that a name means; None if it means none.

    Args:
        kind: of the names, in `ALIASES`.
        name: in any spelling.
        known: the names of xpnet and of the user.

    >>> canonical("loss", "Cross-Entropy", ["hinge", "softmax_cross_entropy"])
    'softmax_cross_entropy'
    >>> canonical("optimizer", "LBFGS", ["adam", "l-bfgs"]), canonical("optimizer", "adm", ["adam"])
    ('l-bfgs', None)
    """
    return meant(name, known, ALIASES[kind])
