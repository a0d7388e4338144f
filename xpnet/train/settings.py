"""Settings of a training: one field each, with its check, its help, and its rule for a resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from xpnet import checks
from xpnet.aliases import ALIASES
from xpnet.checks import Check
from xpnet.errors import ConfigError, suggest, use

__all__ = ["Settings", "setting", "settings_of", "stored"]


def setting(
    default: Any, check: Check, help: str, *, stored: bool = True, fixed: str = "", flag: bool = True
) -> Any:
    """Return a field of `Settings`.

    Args:
        default: its value where none is given; where that is None, None may be given as well.
        check: takes its values.
        help: its meaning. The first sentence is that of the command line, too, without quotation marks.
        stored: whether a checkpoint holds it.
        fixed: why it cannot change on resume; empty if it can.
        flag: whether the command line has it, as a flag and a key of its files.
    """
    metadata = {"check": check, "help": help, "stored": stored, "fixed": fixed, "flag": flag}
    return dataclasses.field(default=default, metadata=metadata)


def _lowerings() -> Iterable[str]:
    from xpnet.program.lowerings.base import names  # loads NumPy, before which the command line is read

    return names()


_by_name = checks.named_numbers(checks.not_negative)


def _factors(value: Any) -> float | dict[str, float]:
    if isinstance(value, Mapping):
        named: dict[str, float] = _by_name.convert(value)
        return named if any(named.values()) else 0.0
    return float(checks.not_negative.convert(value))


_penalty = Check(
    f"{checks.not_negative.expected}, or several by name",
    _factors,
    lambda text: _by_name.read(text) if "=" in text else float(text),
    "X|NAME=X,...",
)


def _known_column(value: Any) -> str:
    """Return the name of a column of the history: ``val_acc`` is ``validation_accuracy``."""
    prefix, _, name = checks.require(isinstance(value, str), value).partition("_")
    checks.require(prefix in ("val", "validation") and name != "", value)
    return f"validation_{ALIASES['metric'].get(name, name)}"


_column = Check(
    "'validation_loss', or 'validation_' and the name of a metric", _known_column, metavar="COLUMN"
)
_ONE_SEED = "all draws and the split of the rows follow from it"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a training, checked; everything about a trainer but its parts and its state.

    A new setting is one field here: `Trainer` takes it, stores it and lets a resume change it, and the
    command line has a flag and a key for it.

    Raises:
        ConfigError: a value that cannot be meant.

    >>> Settings(patience=3, l2=0.001).patience
    3
    >>> Settings(clip_norm=-1)
    Traceback (most recent call last):
    ...
    xpnet.errors.ConfigError: clip_norm: expected a finite number above 0, found -1; correct it, or pass None
    """

    dtype: str = setting("float32", checks.one_of("float32", "float64"), "floating type to compute in.")
    precision: str = setting(
        "float32",
        checks.one_of("float32", "tf32"),
        "precision of matrix products in float32: ``tf32`` rounds the factors to 10 bits and is "
        "faster, on CUDA devices of compute capability 8.0 or higher. Nothing in the environment changes it.",
    )
    seed: int = setting(0, checks.seed, "seed of everything that is drawn.", fixed=_ONE_SEED)
    split_seed: int | None = setting(
        None,
        checks.seed,
        "root of the draw that splits validation rows off, for trainers that share it. None: seed.",
        fixed=_ONE_SEED,
        flag=False,
    )
    compile: str = setting(
        "auto",
        checks.choice(_lowerings),
        "how steps are run: ``auto`` records one for each size of batch and runs it as a compiled program, "
        "by numba, if installed, in long training; the name of a lowering uses that one from the start; "
        "``off`` runs the functions one by one. So does what cannot be compiled, which says why. What a "
        "layer or loss reads beside arrays is fixed when a step is recorded. See :func:`xpnet.compile`.",
    )
    l1: float | Mapping[str, float] = setting(
        0.0, _penalty, "factor of the penalty Σ |w|, or several by name, as for ``l2``."
    )
    l2: float | Mapping[str, float] = setting(
        0.0,
        _penalty,
        "factor of the penalty Σ w², or several by name: weights, biases, a layer such as 0 for its weights, "
        "or a parameter such as 0.bias; the narrower name wins. In Python those are a dict.",
    )
    learning_rate_factors: Mapping[str, float] | None = setting(
        None,
        _by_name,
        "factors of the learning rate by name: weights, biases, a layer such as 0 for all of it, the last "
        "part of names such as scale, or a parameter such as 0.bias; the narrower name wins. Others have 1; "
        "0 keeps parameters as they are.",
    )
    weight_decay_factors: Mapping[str, float] | None = setting(
        None,
        _by_name,
        "factors of the weight decay of adamw by name, as for ``learning_rate_factors``, which multiply it "
        "as well.",
    )
    penalty_per_row: bool = setting(
        False,
        checks.flag,
        "whether the penalties are divided by the number of rows of a batch, or by the sum of their "
        "weights (scaled by a power of two, so that the largest is from ½ to 1): with l2 = α/2 that is "
        "scikit-learn's penalty, which weighs less the more rows there are.",
        flag=False,
    )
    max_norm: float | None = setting(
        None,
        checks.positive,
        "bound for the Euclidean norm of each unit's incoming weights, to which longer ones are scaled down "
        "after each step. None for no bound.",
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
        checks.positive,
        "bound for the gradient's Euclidean norm, to which a longer one is scaled down; entries are clipped "
        "first. None for no bound.",
    )
    clip_value: float | None = setting(
        None, checks.positive, "bound for the size of the gradient's entries. None for no bound."
    )
    ema_decay: float | None = setting(
        None,
        checks.fraction,
        "decay d of an exponential moving average of the weights, which takes their place in validation, "
        "predictions and checkpoints. It is a ← d a + (1 - d) θ after each step, with no bias to the start "
        "(a / (1 - dⁿ), as for Adam's moments). None for none.",
    )
    swa_start: int | None = setting(
        None,
        checks.count,
        "first epoch of stochastic weight averaging: from there on the mean of the weights after each epoch "
        "takes their place in validation, predictions and checkpoints. None for none.",
    )
    batches: str = setting(
        "reshuffle",
        checks.one_of("reshuffle", "fixed"),
        "``reshuffle`` for new batches each epoch, ``fixed`` for batches drawn once and kept.",
    )
    training_metrics: bool = setting(
        True,
        checks.flag,
        "whether metrics are measured on the training rows after each epoch too, which takes a third of its "
        "time or more.",
    )
    drop_last: bool = setting(
        False,
        checks.flag,
        "whether an epoch leaves out the rows that are left over, other ones each time, where they do not "
        "fill a batch.",
    )
    max_steps: int | None = setting(
        None,
        checks.count,
        "stop after this many steps in all. None for no limit. An epoch that this cuts short counts as one: "
        "its history row tells of the steps it had, and a later ``fit`` begins the next epoch.",
    )
    time_limit: float | None = setting(
        None,
        checks.seconds,
        "end within so many seconds, reading the table, refit and report included. None for no limit. Of "
        "``fit`` it is the time since it began. An epoch that would not be over in time is not begun, or is "
        "given up, so that epochs are the same with and without a limit, to rounding, and a later ``fit`` "
        "continues with the next; only a first epoch is cut short, and counts.",
    )
    patience: int | None = setting(
        None,
        checks.count,
        "stop when the validation loss, or what else ``monitor`` names, has not improved for this many "
        "epochs. None: never. Once lost, it stays so: to train further, set the attribute to None or more.",
    )
    min_steps: int | None = setting(
        None, checks.count, "steps before which ``patience`` does not end the training. None for none."
    )
    min_delta: float = setting(
        0.0, checks.not_negative, "by how much that must improve to count for ``patience``."
    )
    monitor: str = setting(
        "validation_loss",
        _column,
        "column of the history that chooses the best epoch and for which ``patience`` waits: "
        "``validation_loss``, or a metric that is measured, such as ``validation_accuracy``. Whether higher "
        "or lower values are better follows from the metric; a function of your own says so: "
        "``function.higher_is_better = False``.",
    )
    use_last_best_epoch: bool = setting(
        False,
        checks.flag,
        "whether the last of epochs that are equally good is the best one, instead of the first. Patience "
        "waits for a better one all the same.",
    )
    restore_best: bool | None = setting(
        None,
        checks.flag,
        "whether a fit with a validation set ends with the variables of the best epoch, as it does by "
        "default; a later ``fit`` goes on from the last epoch all the same. True demands a validation set.",
        flag=False,
    )
    rollback: bool = setting(
        True,
        checks.flag,
        "whether the state before an epoch is kept until its end, to return to if something ends it early. "
        "That takes memory for parameters × (1 + the optimizer's slots). False does without: an epoch cut "
        "short leaves the state as it is then, the next ``fit`` begins that epoch anew, and arrays of "
        "``variables`` from before a ``fit`` are overwritten by it.",
        stored=False,
        flag=False,
    )
    progress: bool | None = setting(
        None,
        checks.flag,
        "whether progress is shown. None: a bar on a terminal and nothing elsewhere; True: lines elsewhere.",
        stored=False,
        flag=False,
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, check = getattr(self, field.name), field.metadata["check"]
            if field.default is None:
                value = checks.unless_none(check, field.name, value)
            else:
                value = check(field.name, value)
            object.__setattr__(self, field.name, value)
        if self.ema_decay is not None and self.swa_start is not None:
            raise ConfigError(
                f"{use('swa_start')}: expected one mean of the weights, found {use('ema_decay')} with it; "
                "leave one of them out"
            )
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
