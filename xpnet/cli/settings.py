"""Settings of the command line: one table, from which flags, TOML keys and written configurations follow.

A field of `Settings` is a setting: its name (with dashes) is the flag and the TOML key, and its metadata say
its check, its meaning and its section of ``--help``. Those of the trainer are inherited. A flag
wins over the file, the file over the default.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.checks import Check
from xpnet.cli import values
from xpnet.errors import ConfigError, because, suggest
from xpnet.files import read_regular
from xpnet.text import visible
from xpnet.train.settings import Settings as TrainerSettings
from xpnet.train.settings import setting as trainer_setting

__all__ = [
    "FIXED",
    "SettingField",
    "Settings",
    "changed_settings",
    "fields_of",
    "plain",
    "read_toml",
    "renamed",
    "resolve",
    "setting",
    "setting_fields",
    "to_toml",
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


_MOST_TOML = 2**20  # bytes
_ROWS = "the rows and their split are those of the first epoch"
_MODEL = "it is part of the model, whose weights are trained already"
_LOSS = "the form of the targets, the best weights and the patience go by it"


def setting(default: Any, check: Check, section: str, help: str, *, fixed: str = "", also: str = "") -> Any:
    """Return a field of a table of settings.

    Args:
        default: its value where none is given; where that is None, it may be not set.
        check: takes its values.
        section: of ``--help``.
        help: its meaning.
        fixed: why it cannot change while a run goes on; empty if it can.
        also: another name of it, which flags and files may use.
    """
    metadata = {"check": check, "section": section, "help": help, "fixed": fixed, "also": also, "flag": True}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings(TrainerSettings):
    """Settings of a training, from a table to a run folder.

    None means: not set, or the default that ``help`` describes. Those of the trainer are inherited, and a new
    one is a flag, a key and an argument of the trainer at once.
    """

    data: str | None = setting(
        None,
        values.text("NAME|FILE", "a name or a file"),
        "Data",
        "a built-in table (digits, two-gaussians, spirals, xor, sine) or a file: "
        "CSV, TSV, Parquet, NPZ or NPY",
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
    drop: tuple[str, ...] = setting(
        (),
        values.texts("COLUMN", "names of columns"),
        "Data",
        "leave this column out; may be repeated",
        fixed=_ROWS,
    )
    categorical: tuple[str, ...] = setting(
        (),
        values.texts("COLUMN", "names of columns"),
        "Data",
        "take this column as categories; may be repeated",
        fixed=_ROWS,
    )
    missing: str = setting(
        "error",
        checks.one_of("error", "drop", "mean"),
        "Data",
        "what becomes of missing cells: an error, their rows left out, or the training mean",
        fixed=_ROWS,
    )
    validation: float = setting(
        0.1, checks.fraction, "Data", "share of rows that chooses the best epoch; 0 for none", fixed=_ROWS
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
        "keep rows of equal cells in this column, such as a patient, in one part; it is no feature unless it "
        "is named as categorical",
        fixed=_ROWS,
    )
    hidden: tuple[int, ...] = setting(
        (128,), values.widths(), "Model", "widths of the hidden layers; none for a linear model", fixed=_MODEL
    )
    activation: str | tuple[str, ...] = setting(
        "relu",
        values.names(_activations),
        "Model",
        "activation function, one for all hidden layers or one for each",
        fixed=_MODEL,
    )
    weight_init: str = setting(
        "auto",
        checks.choice(_initializers),
        "Model",
        "how weights are drawn; auto takes he_uniform before ReLU and its kin, else glorot_uniform",
        fixed=_MODEL,
        also="init",
    )
    dropout: float = setting(0.0, checks.fraction, "Model", "rate of Dropout behind each hidden layer")
    batch_norm: bool = setting(False, checks.flag, "Model", "BatchNorm before each activation", fixed=_MODEL)
    loss: str = setting(
        "auto",
        values.name_or_code(_losses),
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
        "adam",
        checks.choice(_optimizers),
        "Training",
        "optimizer; those of second order take full batches, one iteration an epoch",
    )
    learning_rate: float | None = setting(
        None,
        checks.positive,
        "Training",
        "learning rate; not set: the optimizer's own (adam: 0.001), if it has one",
        also="lr",
    )
    momentum: float = setting(0.0, checks.fraction, "Training", "momentum of sgd")
    nesterov: bool = setting(False, checks.flag, "Training", "Nesterov's momentum, for sgd")
    schedule: str = setting(
        "constant",
        checks.one_of("constant", "inverse", "step", "exponential", "cosine"),
        "Training",
        "course of the learning rate η: constant; inverse: η / k at step k; step: a tenth after each "
        "third of the training; exponential: down to η / 100 at its end; cosine: down to 0 at its end",
    )
    warmup: int = setting(0, checks.whole(0), "Training", "steps in which the learning rate first rises")
    l2: float | Mapping[str, float] | None = trainer_setting(  # type: ignore[assignment]  # follows from the table
        None,
        TrainerSettings.__dataclass_fields__["l2"].metadata["check"],
        "factor of the penalty Σ w², or several by name; not set: 0.5 / training rows, or 0 for adamw",
    )
    weight_decay: float | None = setting(
        None, checks.not_negative, "Training", "decoupled weight decay of adamw; not set: 0.01"
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
        "rows in a step; not set: 16 to 128, the more the more rows there are, or all if the optimizer is of "
        "second order",
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
    diagnostics: int | None = setting(
        None,
        checks.whole(0),
        "Run",
        "about how often gradients, activations and updates of each layer are measured and judged; 0 for "
        "never; not set: up to 50 times, but for no more than some 3 % of the time of the training",
    )
    restarts: int = setting(
        1,
        checks.count,
        "Run",
        "train so many times, each from other initial weights on the same rows, and keep the best",
        fixed="the run has had its restarts",
    )
    save_every: int | str | None = setting(
        None,
        values.interval(),
        "Run",
        "keep a numbered checkpoint every N epochs, or at the first epoch's end after a TIME such as 5m",
    )
    keep_last: int | None = setting(
        None, checks.count, "Run", "keep the newest N of the numbered checkpoints; not set: all"
    )
    tensorboard: bool = setting(
        False, checks.flag, "Run", "write the history for TensorBoard as well (needs the extra tensorboard)"
    )
    out: str | None = setting(
        None,
        values.text("DIR", "a folder"),
        "Run",
        "run folder to make; not set: runs/<name>-<date>-<time>",
        fixed="the run has its folder",
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


def fields_of(table: type) -> dict[str, SettingField]:
    """Return the rows of a table of settings by attribute name, in the order of ``--help``."""
    fields = [field for field in dataclasses.fields(table) if field.metadata["flag"]]
    own = [_row(field) for field in fields if "section" in field.metadata]
    of_trainer = [_row(field) for field in fields if "section" not in field.metadata]
    sections = list(dict.fromkeys(row.section for row in own))
    rows = sorted(own + of_trainer, key=lambda row: sections.index(row.section))
    return {row.attribute: row for row in rows}


def _row(field: dataclasses.Field[Any]) -> SettingField:
    known = field.metadata
    if "section" in known:
        section, help, also = known["section"], known["help"], known["also"]
    else:  # the trainer's, whose first sentence is for everybody
        section, help, also = "Training", known["help"].partition(". ")[0].rstrip(".").replace("``", ""), ""
    return SettingField(field.name, field.default, known["check"], section, help, known["fixed"], also)


def renamed(stored: Mapping[str, Any], fields: Mapping[str, SettingField]) -> dict[str, Any]:
    """Return stored settings by the names of their attributes: older files have what are other names now."""
    now = {field.also: field.attribute for field in fields.values() if field.also}
    return {now.get(name, name): value for name, value in stored.items()}


def plain(settings: Settings) -> dict[str, Any]:
    """Return settings by attribute, as they are read back from JSON."""
    values = {name: getattr(settings, name) for name in setting_fields()}
    return dict(json.loads(json.dumps(values)))


def setting_fields() -> dict[str, SettingField]:
    """Return the rows of `Settings` by attribute name.

    >>> setting_fields()["max_steps"].key, setting_fields()["restarts"].default
    ('max-steps', 1)
    """
    return fields_of(Settings)


FIXED = {name: field.fixed for name, field in setting_fields().items() if field.fixed}
"""Settings that cannot change while a run goes on, and why."""


def resolve(flags: Mapping[str, Any], config: str | Path | None = None) -> Settings:
    """Return the settings that flags and a TOML file ask for; flags win.

    Args:
        flags: texts by attribute name (True or False for switches, lists where a flag may be repeated);
            None and an empty list mean that the flag was not given.
        config: path of a TOML file.

    Raises:
        ConfigError: an unknown key, a value that cannot be meant, or a file that cannot be read.

    >>> resolve({"epochs": "5", "hidden": "32,16"}).hidden
    (32, 16)
    """
    fields = setting_fields()
    given = read_toml(Path(config)) if config is not None else {}
    for attribute, text in _given(flags).items():
        where = "NAME|FILE" if attribute == "data" else f"--{fields[attribute].key}"
        given[attribute] = text if isinstance(text, bool) else fields[attribute].check.of_text(where, text)
    return Settings(**given)


def changed_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that flags give new values; ``none`` takes back one that may be not set.

    Raises:
        ConfigError: a value that cannot be meant.

    >>> changed_settings({"l2": "0.001", "clip_norm": "none", "epochs": None})
    {'l2': 0.001, 'clip_norm': None}
    """
    fields = setting_fields()
    taken_back = {
        attribute: None
        for attribute, text in _given(flags).items()
        if fields[attribute].default is None and str(text).strip().lower() == "none"
    }
    given = {attribute: text for attribute, text in _given(flags).items() if attribute not in taken_back}
    read = resolve(given)
    return {name: taken_back.get(name, getattr(read, name)) for name in _given(flags)}


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {attribute: text for attribute, text in flags.items() if text is not None and text != []}


def read_toml(path: Path, *, follow: bool = True) -> dict[str, Any]:
    """Return the settings in a TOML file by attribute, checked.

    Args:
        path: the file.
        follow: whether it may be a link.

    Raises:
        ConfigError: an unknown key, a value that cannot be meant, or a file that cannot be read.
    """
    fields = setting_fields()
    try:
        table = tomllib.loads(read_regular(path, _MOST_TOML, follow=follow).decode())
    except OSError as error:
        raise ConfigError(f"the configuration '{path}' cannot be read: {because(error)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is no TOML file: expected UTF-8 text, found {error.reason}") from None
    except (ValueError, RecursionError) as error:  # of the latter kind: tables in each other without end
        raise ConfigError(f"'{path}' is not valid TOML: {visible(str(error))}; correct it") from None
    if isinstance(table.get("train"), dict):
        table = {**{k: v for k, v in table.items() if k != "train"}, **table["train"]}
    rows = {key: field for field in fields.values() for key in field.keys}
    named: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, value in table.items():
        key = name.replace("_", "-")
        if key not in rows:
            raise ConfigError(
                f"'{path}': unknown key '{visible(name)}'{suggest(name, rows)}; if a newer xpnet wrote it: "
                "pip install --upgrade xpnet"
            )
        field = rows[key]
        if field.attribute in found:
            raise ConfigError(
                f"'{path}': the key '{field.key}' is given twice, as '{named[field.attribute]}' and "
                f"'{name}'; keep one"
            )
        named[field.attribute] = name
        found[field.attribute] = field.check(f"'{path}', key '{name}'", value)
    return found


def to_toml(settings: Settings) -> str:
    """Return the settings as TOML, from which `resolve` makes equal ones; unset ones are comments."""
    lines: list[str] = []
    section = None
    for field in setting_fields().values():
        if field.section != section:
            section = field.section
            lines += ["", f"# {section}"] if lines else [f"# {section}"]
        value = getattr(settings, field.attribute)
        lines.append(f"# {field.key} is not set" if value is None else f"{field.key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(k)} = {_toml(v)}' for k, v in value.items())}}}"
    if isinstance(value, str):
        # JSON's strings are TOML's, but for the control characters that JSON leaves as they are
        letters = json.dumps(value, ensure_ascii=False)
        return "".join(c if visible(c) == c else f"\\U{ord(c):08x}" for c in letters)
    return repr(value)
