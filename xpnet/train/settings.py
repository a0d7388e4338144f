"""Settings of a training: one field each, with its check, its meaning and what a resume may do to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from xpnet import checks, rng
from xpnet.errors import ConfigError, suggest

__all__ = ["Settings", "setting", "settings_of", "stored"]

Check = Callable[[str, Any], Any]


def setting(default: Any, check: Check, help: str, *, stored: bool = True, fixed: str = "") -> Any:
    """Return a field of `Settings`.

    Args:
        default: its value where none is given.
        check: ``(name, value) -> value`` made uniform, or a `ConfigError`.
        help: its meaning, in a sentence or two.
        stored: whether a checkpoint holds it.
        fixed: why it cannot change on resume; empty if it can.
    """
    return dataclasses.field(
        default=default, metadata={"check": check, "help": help, "stored": stored, "fixed": fixed}
    )


def _one_of(*allowed: str) -> Check:
    return lambda name, value: checks.one_of(name, value, *allowed)


def _or_none(check: Callable[..., Any]) -> Check:
    return lambda name, value: checks.unless_none(check, name, value)


def _seed(name: str, value: Any) -> int:
    return rng.key(value).seed


def _lowering(name: str, value: Any) -> Any:
    return value  # which there are depends on the backend: see `Setup`


def _penalty(name: str, factors: Any) -> float | dict[str, float]:
    if isinstance(factors, Mapping):
        named = {part: checks.not_negative(f"{name}[{part!r}]", x) for part, x in factors.items()}
        return named if any(named.values()) else 0.0
    return checks.not_negative(name, factors, "pass 0 for no penalty")


_ONE_SEED = "draws of a training follow from one seed, the split into training and validation rows among them"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training, checked; everything about a trainer but its parts and its state.

    A new setting is one field here: `Trainer` takes it, stores it and lets a resume change it.

    Raises:
        ConfigError: a value that cannot be meant.

    >>> Settings(patience=3, l2=0.001).patience
    3
    >>> Settings(clip_norm=-1)
    Traceback (most recent call last):
    ...
    xpnet.errors.ConfigError: clip_norm: expected a finite number above 0, found -1; correct it, or pass None
    """

    dtype: str = setting(
        "float32", _one_of("float32", "float64"), 'floating dtype: ``"float32"`` or ``"float64"``.'
    )
    precision: str = setting(
        "float32",
        _one_of("float32", "tf32"),
        'of matrix products in float32: ``"float32"``, or ``"tf32"`` on CUDA devices of compute capability '
        "8.0 or higher: faster, with products of numbers that are rounded to 10 bits. Nothing in the "
        "environment changes it.",
    )
    seed: int = setting(0, _seed, "whole number, root of all draws.", fixed=_ONE_SEED)
    split_seed: int | None = setting(
        None,
        lambda name, value: None if value is None else _seed(name, value),
        "root of the draw that splits validation rows off, for trainers that share it; None: seed.",
        fixed=_ONE_SEED,
    )
    compile: str = setting(
        "auto",
        _lowering,
        '``"auto"`` records a step once for each size of batch and runs it as a compiled program; what a '
        "layer or loss reads beside arrays is fixed then. Where numba is installed, long training goes over "
        "to it. The name of a lowering (:func:`xpnet.compile`) uses that one from the start; "
        '``"off"`` runs the functions one by one, as does what cannot be compiled, which says why.',
    )
    l1: float | Mapping[str, float] = setting(0.0, _penalty, "factor of the penalty Σ |w|; see ``l2``.")
    l2: float | Mapping[str, float] = setting(
        0.0,
        _penalty,
        'factor of the penalty Σ w². A dict gives factors by name: ``"weights"``, ``"biases"``, a layer such '
        'as ``"0"`` for its weights, or a parameter such as ``"0.bias"``; the narrower name wins.',
    )
    max_norm: float | None = setting(
        None,
        _or_none(checks.positive),
        "bound for the Euclidean norm of each unit's incoming weights, to which longer ones are scaled down "
        "after each step; None for no bound.",
    )
    label_smoothing: float = setting(
        0.0,
        checks.fraction,
        "share ε of each target that is spread over all K classes, (1 - ε) t + ε / K, in training; for "
        "losses of probabilities.",
    )
    gradient_noise: float = setting(
        0.0,
        checks.not_negative,
        "variance η of normal noise added to the gradient, σ² = η / k^0.55 in step k.",
    )
    clip_norm: float | None = setting(
        None,
        _or_none(checks.positive),
        "bound for the gradient's Euclidean norm; None for no bound. Entries are clipped first.",
    )
    clip_value: float | None = setting(
        None, _or_none(checks.positive), "bound for the gradient's entries; None for no bound."
    )
    batches: str = setting(
        "reshuffle",
        _one_of("reshuffle", "fixed"),
        '``"reshuffle"`` for new batches each epoch, ``"fixed"`` for batches drawn once and kept.',
    )
    max_steps: int | None = setting(
        None,
        _or_none(checks.count),
        "stop after this many steps in all; None for no limit. An epoch that this cuts short counts as one: "
        "its history row tells of the steps it had, and a later ``fit`` begins the next epoch.",
    )
    patience: int | None = setting(
        None,
        _or_none(checks.count),
        "stop when the validation loss has not fallen for this many epochs; None: never. Once lost, it stays "
        "so: to train further, set the attribute to None or more.",
    )
    min_delta: float = setting(
        0.0, checks.not_negative, "by how much it must fall to count for ``patience``."
    )
    restore_best: bool | None = setting(
        None,
        _or_none(checks.flag),
        "whether a fit with a validation set ends with the variables of the lowest validation loss, as it "
        "does by default; a later ``fit`` goes on from the last epoch all the same. True demands a "
        "validation set.",
    )
    rollback: bool = setting(
        True,
        checks.flag,
        "whether the state before an epoch is kept until its end, to return to if something ends it early. "
        "That takes memory for parameters × (1 + the optimizer's slots). False does without: an epoch cut "
        "short leaves the state as it is then, the next ``fit`` begins that epoch anew, and arrays of "
        "``variables`` from before a ``fit`` are overwritten by it.",
        stored=False,
    )
    progress: bool | None = setting(
        None,
        _or_none(checks.flag),
        "None shows a bar on a terminal and nothing elsewhere; True lines elsewhere; False nothing.",
        stored=False,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = field.metadata["check"](field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        if self.precision == "tf32" and self.dtype != "float32":
            raise ConfigError(
                f"precision: expected 'float32' for dtype {self.dtype}, found 'tf32', a precision of float32 "
                "alone; leave it out, or train with dtype='float32'"
            )


def settings_of(kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Return settings from keyword arguments.

    Raises:
        TypeError: a name that is none, as for any function.
        ConfigError: a value that cannot be meant.
    """
    known = [field.name for field in dataclasses.fields(kind)]
    for name in given:
        if name not in known:
            raise TypeError(f"Trainer: unexpected keyword argument {name!r}{suggest(name, known)}")
    return kind(**given)


def stored(settings: Settings) -> dict[str, Any]:
    """Return the settings that a checkpoint holds, by name."""
    return {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.metadata["stored"]}
