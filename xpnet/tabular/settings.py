"""Settings of the model of a table: one table, from which arguments, TOML keys and flags follow.

A field of `Settings` is a setting: its name (with dashes) is the flag and the TOML key, and its metadata say
its check, its meaning and its section of the help. Those of the trainer are inherited.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from xpnet import checks
from xpnet.aliases import ALIASES
from xpnet.checks import Check
from xpnet.errors import ConfigError, suggest, use
from xpnet.tabular import values
from xpnet.train.settings import Settings as TrainerSettings

K = TypeVar("K")

__all__ = [
    "SettingField",
    "Settings",
    "checked_settings",
    "fields_of",
    "plain",
    "renamed",
    "setting",
    "settings_from",
]


# Names are looked up in the tables of the library when a value is checked: importing those needs NumPy.
def _activations() -> Iterable[str]:
    from xpnet.nn.activations import ACTIVATIONS

    return ACTIVATIONS


def _initializers() -> Iterable[str]:
    from xpnet.nn.init import INITIALIZERS

    return ("auto", *INITIALIZERS)


def _losses() -> Iterable[str]:
    from xpnet.losses import LOSSES

    return ("auto", *LOSSES)


def _optimizers() -> Iterable[str]:
    from xpnet.optim import METHODS, OPTIMIZERS

    return (*OPTIMIZERS, *METHODS)


_schedule = checks.choice(
    lambda: ("constant", "inverse", "step", "exponential", "cosine", "flat_cosine", "coslog"),
    "the name of a schedule",
    ALIASES["schedule"],
)
_ROWS = "the rows and their split are those of the first epoch"
_ENCODER = "the encoder is that of the first epoch"
_MODEL = "it is part of the model, whose weights are trained already"
_LOSS = "the form of the targets, the best weights and the patience go by it"


def setting(default: Any, check: Check, section: str, help: str, *, fixed: str = "", also: str = "") -> Any:
    """Return a field of a table of settings.

    Args:
        default: its value where none is given; where that is None, it may be not set.
        check: takes its values.
        section: of the help.
        help: its meaning.
        fixed: why it cannot change while a run goes on; empty if it can.
        also: another name of it, which flags and files may use.
    """
    metadata = {"check": check, "section": section, "help": help, "fixed": fixed, "also": also, "flag": True}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings(TrainerSettings):
    """Settings of the model of a table, and of its training.

    None means: not set, or the default that ``help`` describes. Those of the trainer are inherited, and a new
    one is a flag, a key and an argument of the trainer at once. ``chosen`` names those that were given, which
    a preset leaves alone.
    """

    data: str | None = setting(
        None,
        values.text("NAME|FILE", "a name or a file"),
        "Data",
        "a built-in table (digits, two-gaussians, spirals, xor, sine) or a file: "
        "CSV, Excel, JSON, Parquet, Feather, NumPy; - for the standard input",
        fixed=_ROWS,
    )
    target: str | tuple[str, ...] | None = setting(
        None,
        values.text_or_texts("COLUMN", "names of columns"),
        "Data",
        "column to be predicted; may be repeated for several of one kind",
        fixed=_ROWS,
    )
    task: str = setting(
        "auto",
        checks.one_of("auto", "classification", "regression"),
        "Data",
        "kind of the target; auto looks at the target column",
        fixed=_ROWS,
    )
    decimal: str | None = setting(
        None,
        checks.one_of(".", ","),
        "Data",
        "decimal mark of numbers in text; found out by default",
        fixed=_ROWS,
    )
    thousands: str | None = setting(
        None,
        values.mark(),
        "Data",
        "mark between thousands of numbers in text; found out by default",
        fixed=_ROWS,
    )
    drop: tuple[str, ...] = setting(
        (),
        values.texts("COLUMN", "names of columns", empty=True),
        "Data",
        "leave this column out; may be repeated; empty: the one without a name",
        fixed=_ROWS,
    )
    categorical: tuple[str, ...] = setting(
        (),
        values.texts("COLUMN", "names of columns"),
        "Data",
        "take this column as categories; may be repeated",
        fixed=_ROWS,
    )
    use: tuple[str, ...] = setting(
        (),
        values.texts("COLUMN", "names of columns"),
        "Data",
        "use this column even if it is constant or seems to identify the rows; may be repeated",
        fixed=_ROWS,
    )
    missing: str = setting(
        "impute",
        checks.one_of("impute", "error", "drop", "mean"),
        "Data",
        "what becomes of missing cells: the training median and a feature that says so (categories: one of "
        "their own), an error, their rows left out, or the training mean; rows without target are left out",
        fixed=_ROWS,
    )
    dayfirst: bool | None = setting(
        None,
        dataclasses.replace(checks.flag, metavar="true|false"),
        "Data",
        "whether 3/4/2021 is the 3rd of April; not set: found out, or asked for",
        fixed=_ROWS,
    )
    scaling: str = setting(
        "standard",
        checks.one_of("standard", "robust", "quantile"),
        "Data",
        "scaling of numbers: by mean and deviation; by median and quartiles, smoothly clipped to (-3, 3), as "
        "one-hot features are then, too; by quantiles to a normal distribution",
        fixed=_ENCODER,
    )
    one_hot: str = setting(
        "plain",
        checks.one_of("plain", "signed"),
        "Data",
        "features of categories: plain: one for each; signed: two categories are one feature, 1 and -1, and "
        "missing cells zeros",
        fixed=_ENCODER,
    )
    one_hot_up_to: int | None = setting(
        None,
        checks.whole(0),
        "Data",
        "columns of more categories become codes, for networks with embeddings; not set: none does",
        fixed=_ENCODER,
    )
    clamp: bool = setting(
        False,
        checks.flag,
        "Data",
        "predicted numbers stay between the smallest and the largest training target",
        fixed=_ENCODER,
    )
    validation: float = setting(
        0.1, checks.fraction, "Data", "share of rows that chooses the best epoch; 0 for none", fixed=_ROWS
    )
    folds: int | None = setting(
        None,
        checks.whole(2),
        "Data",
        "each member of an ensemble has one of so many folds of the rows as its validation rows, and is "
        "trained on the others: all rows but those of the test are trained on; validation and refit have no "
        "effect then; not set: all members have the same validation rows",
        fixed=_ROWS,
    )
    test: float = setting(
        0.2, checks.fraction, "Data", "share of rows kept for the final test; 0 for none", fixed=_ROWS
    )
    split_by: str | None = setting(
        None,
        values.text("COLUMN", "the name of a column"),
        "Data",
        "split the rows in the order of this column, such as a date: the last ones are the test",
        fixed=_ROWS,
    )
    group: str | None = setting(
        None,
        values.text("COLUMN", "the name of a column"),
        "Data",
        "keep rows of equal cells in this column, such as a patient, in one part; it is no feature unless "
        "it is named by use or categorical",
        fixed=_ROWS,
    )
    preset: str = setting(
        "auto",
        checks.one_of("auto", "fast", "best"),
        "Model",
        "settings of a recipe, where they are not given: fast: a small network; best: an ensemble of RealMLP,"
        " which takes longer; auto: best, as far as there is time, with a time limit, else fast",
        fixed=_MODEL,
    )
    network: str = setting(
        "mlp",
        checks.one_of("mlp", "realmlp", "realmlp_simple", "tabm"),
        "Model",
        "form of the network: mlp: hidden layers and no more; realmlp and tabm: with embedded inputs, as in "
        "the papers of these names",
        fixed=_MODEL,
    )
    members: int = setting(
        1,
        checks.count,
        "Model",
        "networks that are trained side by side, whose predictions are averaged",
        fixed=_MODEL,
    )
    hidden: tuple[int, ...] = setting(
        (128,), values.widths(), "Model", "widths of the hidden layers; none for a linear model", fixed=_MODEL
    )
    activation: str | tuple[str, ...] = setting(
        "relu",
        values.names(_activations, ALIASES["activation"]),
        "Model",
        "activation function, one for all hidden layers or one for each",
        fixed=_MODEL,
    )
    weight_init: str = setting(
        "auto",
        checks.choice(_initializers, also=ALIASES["initializer"]),
        "Model",
        "how weights are drawn; auto takes he_uniform before ReLU and its kin, else glorot_uniform",
        fixed=_MODEL,
        also="init",
    )
    dropout: float = setting(0.0, checks.fraction, "Model", "rate of Dropout behind each hidden layer")
    dropout_schedule: str = setting(
        "constant", _schedule, "Model", "course of the dropout, as for the learning rate, without warm-up"
    )
    batch_norm: bool = setting(False, checks.flag, "Model", "BatchNorm before each activation", fixed=_MODEL)
    loss: str = setting(
        "auto",
        values.name_or_code(_losses, ALIASES["loss"]),
        "Training",
        "loss; auto takes softmax_cross_entropy for classes, binary_cross_entropy for several targets of two "
        "classes, and squared_error for numbers. A function of your own is run where this flag names it, and "
        "only there",
        fixed=_LOSS,
    )
    loss_option: Mapping[str, float] | None = setting(
        None,
        checks.named_numbers(checks.number("a number", lambda x: True)),
        "Training",
        "options of the loss: delta of huber",
        fixed=_LOSS,
    )
    class_weight: str | Mapping[str, float] = setting(
        "none",
        values.numbers_or_word(checks.not_negative, "none", "balanced"),
        "Training",
        "weights of classes in the loss; those not named weigh 1; balanced: all classes count alike",
    )
    optimizer: str = setting(
        "adamw",
        checks.choice(_optimizers, also=ALIASES["optimizer"]),
        "Training",
        "optimizer; those of second order take full batches, one iteration an epoch",
    )
    learning_rate: float | None = setting(
        None,
        checks.positive,
        "Training",
        "learning rate; not set: 0.002 for adam and adamw, else the optimizer's own, if it has one",
        also="lr",
    )
    momentum: float = setting(0.0, checks.fraction, "Training", "momentum of sgd")
    beta2: float | None = setting(
        None, checks.fraction, "Training", "decay of adam's and adamw's mean of squares; not set: 0.999"
    )
    nesterov: bool = setting(False, checks.flag, "Training", "Nesterov's momentum, for sgd")
    schedule: str = setting(
        "constant",
        _schedule,
        "Training",
        "course of the learning rate η: constant; inverse: η / k at step k; step: a tenth after each third "
        "of the training; exponential: down to η / 100 at its end; cosine: down to 0 at its end; flat_cosine:"
        " likewise in its second half; coslog: four waves from 0 to η and back, each twice the one before",
    )
    warmup: int = setting(0, checks.whole(0), "Training", "steps in which the learning rate first rises")
    weight_decay: float | None = setting(
        None,
        checks.not_negative,
        "Training",
        "decoupled weight decay of adamw; not set: such that weights are forgotten within 100 epochs",
    )
    weight_decay_schedule: str = setting(
        "constant",
        _schedule,
        "Training",
        "course of the weight decay, as for the learning rate, by which it is multiplied; without warm-up",
    )
    epochs: int | None = setting(
        None,
        checks.count,
        "Training",
        "passes over the training rows; not set: until the validation loss has stopped falling, or 50 "
        "without validation rows or with a schedule that spans the training",
    )
    batch_size: int | str | None = setting(
        None,
        values.whole_or("full"),
        "Training",
        "rows in a step; not set: 16 to 64, the more the more rows there are, or all if the optimizer is of "
        "second order",
    )
    refit: bool = setting(
        True,
        checks.flag,
        "Training",
        "train the best weights on for 25 epochs with the validation rows, where these have ended the "
        "training, and keep the mean",
    )
    backend: str = setting(
        "auto",
        values.text("DEVICE", "a device"),
        "Run",
        "where to compute: auto, cpu, cuda, numpy, cupy:0, torch:cpu, jax:cpu, array_api_strict ... (see "
        "xpnet env)",
        also="device",
    )
    device_memory: int | str | None = setting(
        None,
        values.memory_size(),
        "Run",
        "take at most so much of a CUDA device's memory, such as 4GiB; not set: all there is",
    )
    chosen: tuple[str, ...] = dataclasses.field(
        default=(), compare=False, metadata={"flag": False, "check": Check("names", tuple)}
    )


@dataclass(frozen=True)
class SettingField:
    """A row of the table: everything that the command line knows about one setting."""

    attribute: str
    default: Any
    check: Check
    section: str
    help: str
    fixed: str = ""
    also: str = ""

    @property
    def key(self) -> str:
        """The name with dashes, as in flags and TOML."""
        return self.attribute.replace("_", "-")

    @property
    def keys(self) -> tuple[str, ...]:
        """The name and, if there is one, the other name."""
        return (self.key, self.also) if self.also else (self.key,)


def fields_of(table: type) -> Mapping[str, SettingField]:
    """Return the rows of a table of settings by attribute name, in the order of the help."""
    fields = [field for field in dataclasses.fields(table) if field.metadata["flag"]]
    own = [_row(field) for field in fields if "section" in field.metadata]
    of_trainer = [_row(field) for field in fields if "section" not in field.metadata]
    sections = list(dict.fromkeys(row.section for row in own))
    rows = sorted(own + of_trainer, key=lambda row: sections.index(row.section))
    return MappingProxyType({row.attribute: row for row in rows})


def _row(field: dataclasses.Field[Any]) -> SettingField:
    known = field.metadata
    if "section" in known:
        section, help, also = known["section"], known["help"], known["also"]
    else:  # the trainer's, whose first sentence is for everybody
        section, help, also = "Training", known["help"].partition(". ")[0].rstrip(".").replace("``", ""), ""
    return SettingField(field.name, field.default, known["check"], section, help, known["fixed"], also)


def settings_from(kind: type[K], given: Mapping[str, Any]) -> K:
    """Return settings from keyword arguments, checked.

    Args:
        kind: a table of settings.
        given: values by attribute; None for one that is not set.

    Raises:
        ConfigError: a name that is none, or a value that cannot be meant.

    >>> settings_from(Settings, {"hidden": [32, 16], "lr": 0.01}).learning_rate
    0.01
    """
    fields = fields_of(kind)
    checked = checked_settings(fields, given)
    chosen = tuple(name for name, value in checked.items() if value is not None)
    return kind(**checked, **({"chosen": chosen} if issubclass(kind, Settings) else {}))


def checked_settings(fields: Mapping[str, SettingField], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in their one form, by attribute.

    Raises:
        ConfigError: a name that is none, or a value that cannot be meant.
    """
    checked: dict[str, Any] = {}
    for name, value in renamed(given, fields).items():
        if name not in fields:
            raise ConfigError(f"there is no setting '{name}'{suggest(name, fields)}")
        unset = value is None and fields[name].default is None
        checked[name] = None if unset else fields[name].check(use(name), value)
    return checked


def renamed(stored: Mapping[str, Any], fields: Mapping[str, SettingField]) -> dict[str, Any]:
    """Return stored settings by the names of their attributes: older files have what are other names now."""
    now = {field.also: field.attribute for field in fields.values() if field.also}
    return {now.get(name, name): value for name, value in stored.items()}


def plain(settings: Settings) -> dict[str, Any]:
    """Return settings by attribute, as they are read back from JSON."""
    values = {name: getattr(settings, name) for name in fields_of(type(settings))}
    return dict(json.loads(json.dumps(values)))
