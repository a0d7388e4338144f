"""Losses made of functions, registered, found by name, and given options."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xpnet.aliases import canonical
from xpnet.autodiff.tracer import is_floating
from xpnet.backends import array_namespace
from xpnet.errors import ConfigError, DataError, suggest

__all__ = [
    "KINDS",
    "LOSSES",
    "LossWithOptions",
    "aligned",
    "exponential",
    "get",
    "identity",
    "kind_of",
    "link_of",
    "make",
    "name_of",
    "register",
    "row_sum",
    "to_config",
]

KINDS = ("values", "counts", "classes", "binary", "signs")
"""Kinds of targets: numbers, counts, class indices (or rows of probabilities), 0/1, and ±1."""

LOSSES: dict[str, Callable[..., Any]] = {}


def identity(outputs: Any) -> Any:
    """Return raw outputs as they are: the link of losses whose outputs are the predictions."""
    return outputs


def exponential(outputs: Any) -> Any:
    """Return exp(z) of raw outputs z: the link of losses whose outputs are logarithms."""
    return array_namespace(outputs).exp(outputs)


def make(
    entries: Callable[..., Any] | None = None,
    *,
    targets: str = "values",
    link: Callable[[Any], Any] | None = None,
) -> Callable[..., Any]:
    """Return the loss that averages ``entries`` over rows, with sample weights; also as a decorator.

    Args:
        entries: array code ``(predictions, targets) -> (batch,)``, or ``(batch, outputs)``, over which is
            summed. Targets other than class indices come in the predictions' shape.
        targets: one of `KINDS`.
        link: from raw outputs to predictions; None for the outputs themselves. Probabilities are
            predicted where it is softmax (``"classes"``), or where targets are ``"binary"``.

    Returns:
        A function ``(predictions, targets, *, sample_weight=None) -> 0-d array``, with the attributes
        ``targets`` and ``link``, which a function of the user's own may carry as well.

    Raises:
        ConfigError: an unknown kind of targets, or a link that is no function.

    Example:
        >>> import numpy as np
        >>> from xpnet.autodiff.functions import softplus
        >>> @make
        ... def log_cosh(predictions, targets):
        ...     difference = predictions - targets
        ...     return softplus(2 * difference) - difference - np.log(2.0)
        >>> float(log_cosh(np.asarray([0.0, 1.0]), np.asarray([0.0, 0.0])).round(4))
        0.2169
    """
    if entries is None:
        return functools.partial(make, targets=targets, link=link)

    @functools.wraps(entries)
    def loss(predictions: Any, y: Any, *, sample_weight: Any = None, **options: Any) -> Any:
        if targets != "classes":
            predictions, y = aligned(predictions, y)
        return _mean(_rows(loss, predictions, entries(predictions, y, **options)), sample_weight)

    loss.targets, loss.link = targets, link or identity  # type: ignore[attr-defined]
    return _checked(loss)


def _rows(loss: Any, predictions: Any, entries: Any) -> Any:
    """Return the result of a formula as one number for each row."""
    shape, batch = getattr(entries, "shape", None), predictions.shape[0]
    if shape is None or len(shape) not in (1, 2) or shape[0] != batch:
        found = f"shape {tuple(shape)}" if shape is not None else repr(entries)
        raise ConfigError(
            f"loss {name_of(loss)}: expected one number for each of {batch} rows (or for each output of each "
            f"row), found {found}; the mean is taken by losses.make"
        )
    return row_sum(entries)


@dataclass(frozen=True, slots=True)
class LossWithOptions:
    """A loss with some of its options fixed, made by `get`; equal ones share programs.

    Attributes:
        function: the loss.
        options: names and values, sorted by name.
    """

    function: Callable[..., Any]
    options: tuple[tuple[str, Any], ...]

    def __call__(self, predictions: Any, targets: Any, *, sample_weight: Any = None) -> Any:
        options = dict(self.options)
        if sample_weight is not None:  # a user's own loss need not take any
            options["sample_weight"] = sample_weight
        return self.function(predictions, targets, **options)

    @property
    def __name__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.options)
        return f"{name_of(self.function)}({shown})"

    @property
    def targets(self) -> str:
        """The kind of targets."""
        return kind_of(self.function)

    @property
    def link(self) -> Callable[[Any], Any]:
        """The function from raw outputs to predictions."""
        return link_of(self.function)


def kind_of(loss: Any) -> str:
    """Return the kind of targets of ``loss``, one of `KINDS`; values where it does not say."""
    return getattr(loss, "targets", "values")


def link_of(loss: Any) -> Callable[[Any], Any]:
    """Return the function from raw outputs to predictions; the identity for a loss without one."""
    return getattr(loss, "link", None) or identity


def name_of(loss: Any) -> str:
    """Return the name of ``loss`` for messages."""
    return getattr(loss, "__name__", type(loss).__name__)


def _checked(loss: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``loss``, its kind of targets and its link checked."""
    kind, link = kind_of(loss), link_of(loss)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(
            f"loss {name_of(loss)}: expected targets of a known kind, found {kind!r}{suggest(kind, KINDS)}"
        )
    if not callable(link):
        raise ConfigError(
            f"loss {name_of(loss)}: expected a function of raw outputs as link, found {link!r}; leave it out"
        )
    return loss


def get(loss: str | Mapping[str, Any] | Callable[..., Any]) -> Callable[..., Any]:
    """Return the loss given by its name, its table, or itself.

    Args:
        loss: a name of `LOSSES`, or one of `xpnet.aliases` such as ``"mse"``; a table with ``name`` and
            options, as `to_config` returns it; or a function, which is returned as it is. A
            ``functools.partial`` fixes options of a loss and keeps the rest.

    Raises:
        ConfigError: no loss of that name, an unknown option or a value not allowed, a class in place of a
            function, or a function that declares targets of an unknown kind.

    >>> get({"name": "huber", "delta": 0.5}).__name__
    'huber(delta=0.5)'
    >>> get("mse").__name__
    'squared_error'
    """
    if isinstance(loss, functools.partial) and not loss.args:
        return _with_options(_checked(loss.func), loss.keywords)
    if callable(loss) and not isinstance(loss, type):
        return _checked(loss)
    table = loss if isinstance(loss, Mapping) else {"name": loss}
    name, options = table.get("name"), {option: table[option] for option in table if option != "name"}
    known = canonical("loss", name, LOSSES)
    if known is None:
        raise ConfigError(f"loss: expected a known name, found {loss!r}{suggest(name, LOSSES)}")
    return _with_options(LOSSES[known], options)


def _with_options(loss: Callable[..., Any], options: Mapping[str, Any]) -> Callable[..., Any]:
    known = getattr(loss, "options", None)
    given = dict(options)
    if known is not None:
        for option in given:
            if option not in known:
                raise ConfigError(f"loss {name_of(loss)} has no option {option!r}{suggest(option, known)}")
            given[option] = known[option](f"{name_of(loss)}: {option}", given[option])
    return LossWithOptions(loss, tuple(sorted(given.items()))) if given else loss


def to_config(loss: Callable[..., Any]) -> str | dict[str, Any] | None:
    """Return the name, or the table of name and options, of ``loss`` for `get`; None for a user's own.

    >>> to_config(get({"name": "huber", "delta": 0.5})), to_config(get("hinge"))
    ({'name': 'huber', 'delta': 0.5}, 'hinge')
    """
    function = loss.function if isinstance(loss, LossWithOptions) else loss
    name = getattr(function, "__name__", None)
    if name is None or LOSSES.get(name) is not function:
        return None
    return {"name": name, **dict(loss.options)} if isinstance(loss, LossWithOptions) else name


def register(
    *,
    targets: str,
    link: Callable[[Any], Any] = identity,
    options: Mapping[str, Callable[..., Any]] | None = None,
) -> Callable[..., Any]:
    """Return a decorator that makes ``rows(predictions, targets) -> (batch,)`` a loss and registers it.

    The loss carries what a trainer must know: ``targets``, one of `KINDS`; ``link``, from raw outputs to
    predictions; and ``options``, a check as in `xpnet.checks` for each of its options.
    """
    checked = options or {}

    def enter(rows: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(rows)
        def loss(predictions: Any, targets: Any, *, sample_weight: Any = None, **options: Any) -> Any:
            for name in checked.keys() & options.keys():
                options[name] = checked[name](f"{rows.__name__}: {name}", options[name])
            return _mean(rows(predictions, targets, **options), sample_weight)

        loss.targets, loss.link, loss.options = targets, link, checked  # type: ignore[attr-defined]
        LOSSES[rows.__name__] = loss
        return loss

    return enter


def _mean(rows: Any, sample_weight: Any) -> Any:
    """Return Σ w l / Σ w, with w = 1 by default."""
    batch = rows.shape[0]
    if batch == 0:
        raise DataError("loss: expected at least one row, found none")
    if sample_weight is None:
        return array_namespace(rows).sum(rows) * (1 / batch)
    if tuple(sample_weight.shape) != (batch,):
        raise DataError(
            f"loss: expected sample_weight of shape ({batch},), one for each row, found "
            f"{tuple(sample_weight.shape)}"
        )
    xp = array_namespace(rows, sample_weight)
    weighted = xp.sum(xp.multiply(rows, sample_weight))
    return xp.divide(weighted, array_namespace(sample_weight).sum(sample_weight))


def aligned(predictions: Any, targets: Any) -> tuple[Any, Any]:
    """Return both in the predictions' shape, the targets in a floating dtype."""
    shape, found = tuple(predictions.shape), tuple(targets.shape)
    xp = array_namespace(targets)
    if found != shape:
        # (batch,) against (batch, 1) would broadcast to a square.
        if {found, shape} != {(shape[0],), (shape[0], 1)}:
            raise DataError(f"loss: expected targets of the predictions' shape {shape}, found {found}")
        targets = xp.reshape(targets, shape)
    if not is_floating(targets):
        targets = xp.astype(targets, predictions.dtype)
    return predictions, targets


def row_sum(entries: Any) -> Any:
    """Return the sum over outputs of (batch,) or (batch, outputs)."""
    return entries if len(entries.shape) == 1 else array_namespace(entries).sum(entries, axis=-1)
