"""The settings of a training: one table, from which flags, TOML keys and written configurations follow.

A field of `Settings` is a setting: its name (with dashes) is the flag and the TOML key, and its metadata say
what it may hold, what it means and where it stands in ``--help``. A flag wins over the file, the file over
the default.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.cli import kinds
from xpnet.cli.kinds import Kind
from xpnet.errors import ConfigError, suggest

__all__ = ["FIXED", "SettingField", "Settings", "changed_settings", "resolve", "setting_fields", "to_toml"]


# Names are looked up in the tables of the library when a value is checked: importing those needs NumPy.
def _activations() -> Iterable[str]:
    from xpnet.nn.activations import ACTIVATIONS

    return ACTIVATIONS


def _initializers() -> Iterable[str]:
    from xpnet.nn.init import INITIALIZERS

    return INITIALIZERS


def _losses() -> Iterable[str]:
    from xpnet.losses import LOSSES

    return LOSSES


def _lowerings() -> Iterable[str]:
    from xpnet.program.lowerings.base import names

    return names()


def _optimizers() -> Iterable[str]:
    from xpnet.optim import METHODS, OPTIMIZERS

    return (*OPTIMIZERS, *METHODS)


_positive = kinds.number("a finite number above 0", lambda x: x > 0)
_not_negative = kinds.number("a finite number of at least 0", lambda x: x >= 0)
_fraction = kinds.number("a number of at least 0 and below 1", lambda x: 0 <= x < 1)


def _setting(default: Any, kind: Kind, section: str, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind, "section": section, "help": help})


@dataclass(frozen=True)
class Settings:
    """What a training is made of. None means: not set, or the default that ``help`` describes."""

    data: str | None = _setting(
        None,
        kinds.text("NAME|FILE", "a name or a file"),
        "Data",
        "a built-in table (digits, two-gaussians, spirals, xor, sine) or a file: "
        "CSV, TSV, Parquet, NPZ or NPY",
    )
    target: str | tuple[str, ...] | None = _setting(
        None,
        kinds.text_or_texts("COLUMN", "names of columns"),
        "Data",
        "column to be predicted; may be repeated for several of one kind",
    )
    task: str = _setting(
        "auto",
        kinds.one_of("auto", "classification", "regression"),
        "Data",
        "what is to be predicted; auto asks the target column",
    )
    drop: tuple[str, ...] = _setting(
        (), kinds.texts("COLUMN", "names of columns"), "Data", "leave this column out; may be repeated"
    )
    categorical: tuple[str, ...] = _setting(
        (),
        kinds.texts("COLUMN", "names of columns"),
        "Data",
        "take this column as categories; may be repeated",
    )
    missing: str = _setting(
        "error",
        kinds.one_of("error", "drop", "mean"),
        "Data",
        "what becomes of missing cells: an error, their rows left out, or the training mean",
    )
    validation: float = _setting(
        0.1, _fraction, "Data", "share of rows that chooses the best epoch; 0 for none"
    )
    test: float = _setting(0.2, _fraction, "Data", "share of rows kept for the final test; 0 for none")
    hidden: tuple[int, ...] = _setting(
        (256,), kinds.widths(), "Model", "widths of the hidden layers; none for a linear model"
    )
    activation: str | tuple[str, ...] = _setting(
        "relu",
        kinds.names(_activations),
        "Model",
        "activation function, one for all hidden layers or one for each",
    )
    init: str = _setting(
        "auto",
        kinds.name(_initializers, extra="auto"),
        "Model",
        "how weights are drawn; auto takes he_uniform before ReLU and its kin, else glorot_uniform",
    )
    dropout: float = _setting(0.0, _fraction, "Model", "rate of Dropout behind each hidden layer")
    batch_norm: bool = _setting(False, kinds.flag(), "Model", "BatchNorm before each activation")
    loss: str = _setting(
        "auto",
        kinds.name_or_code(_losses, extra="auto"),
        "Training",
        "loss; auto takes softmax_cross_entropy for classes, binary_cross_entropy for several targets of two "
        "classes, and squared_error for numbers. A function of your own is run where this flag names it, and "
        "only there",
    )
    loss_option: Mapping[str, float] | None = _setting(
        None,
        kinds.named_numbers("a number", lambda x: True),
        "Training",
        "options of the loss: delta of huber",
    )
    class_weight: str | Mapping[str, float] = _setting(
        "none",
        kinds.named_numbers("a number of at least 0", lambda x: x >= 0, "none", "balanced"),
        "Training",
        "weights of classes in the loss; those not named weigh 1; balanced: all classes count alike",
    )
    optimizer: str = _setting(
        "adam",
        kinds.name(_optimizers),
        "Training",
        "optimizer; those of second order take full batches, one iteration an epoch",
    )
    lr: float | None = _setting(
        None,
        _positive,
        "Training",
        "learning rate; not set: the optimizer's own (adam: 0.001), if it has one",
    )
    momentum: float = _setting(0.0, _fraction, "Training", "momentum of sgd")
    nesterov: bool = _setting(False, kinds.flag(), "Training", "Nesterov's momentum, for sgd")
    schedule: str = _setting(
        "constant",
        kinds.one_of("constant", "inverse", "step", "exponential", "cosine"),
        "Training",
        "course of the learning rate lr: constant; inverse: lr / k at step k; step: a tenth after each "
        "third of the training; exponential: down to lr / 100 at its end; cosine: down to 0 at its end",
    )
    warmup: int = _setting(0, kinds.whole(0), "Training", "steps in which the learning rate first rises")
    weight_decay: float | None = _setting(
        None, _not_negative, "Training", "decoupled weight decay of adamw; not set: 0.01"
    )
    l1: float | Mapping[str, float] = _setting(
        0.0,
        kinds.numbers_by_name("a number of at least 0", lambda x: x >= 0),
        "Training",
        "factor of the L1 penalty, the sum of all |w|; or by name, as for l2",
    )
    l2: float | Mapping[str, float] = _setting(
        0.0,
        kinds.numbers_by_name("a number of at least 0", lambda x: x >= 0),
        "Training",
        "factor of the L2 penalty, the sum of all w²; or by name: weights, biases, a layer such as 0, or a "
        "parameter such as 0.bias",
    )
    max_norm: float | None = _setting(
        None, _positive, "Training", "scale the incoming weights of each unit down to this Euclidean norm"
    )
    label_smoothing: float = _setting(
        0.0, _fraction, "Training", "share of each target that is spread over all classes"
    )
    gradient_noise: float = _setting(
        0.0,
        _not_negative,
        "Training",
        "variance of normal noise in the first step's gradient, decaying from there",
    )
    clip_norm: float | None = _setting(
        None, _positive, "Training", "scale gradients down to this Euclidean norm"
    )
    clip_value: float | None = _setting(
        None, _positive, "Training", "cut each entry of the gradient off at this size"
    )
    epochs: int = _setting(50, kinds.whole(1), "Training", "passes over the training rows")
    max_steps: int | None = _setting(None, kinds.whole(1), "Training", "stop after this many steps")
    batch_size: int | str | None = _setting(
        None,
        kinds.whole_or("full", 1),
        "Training",
        "rows in a step; not set: 64, or all if fewer or if the optimizer is of second order",
    )
    batches: str = _setting(
        "reshuffle",
        kinds.one_of("reshuffle", "fixed"),
        "Training",
        "draw batches anew in each epoch, or once and keep them",
    )
    patience: int | None = _setting(
        None, kinds.whole(1), "Training", "stop after this many epochs without a better validation loss"
    )
    min_delta: float = _setting(
        0.0, _not_negative, "Training", "by how much the validation loss must fall to count for patience"
    )
    device: str = _setting(
        "auto",
        kinds.text("DEVICE", "a device"),
        "Run",
        "auto, cpu, cuda, numpy, cupy:0, torch:cpu, jax:cpu, array_api_strict ... (see xpnet env)",
    )
    dtype: str = _setting("float32", kinds.one_of("float32", "float64"), "Run", "floating type to compute in")
    precision: str = _setting(
        "float32",
        kinds.one_of("float32", "tf32"),
        "Run",
        "precision of matrix products in float32: tf32 rounds what is multiplied to 10 bits and is faster, "
        "on CUDA devices of compute capability 8.0 or higher",
    )
    device_memory: int | str | None = _setting(
        None,
        kinds.memory_size(),
        "Run",
        "take at most so much of a CUDA device's memory, such as 4GiB; not set: all there is",
    )
    compile: str = _setting(
        "auto",
        kinds.name(_lowerings),
        "Run",
        "how steps are run: auto takes numba, if installed, for long training; or the name of a lowering; "
        "off runs the functions one by one",
    )
    diagnostics: int | None = _setting(
        None,
        kinds.whole(0),
        "Run",
        "about how often gradients, activations and updates of each layer are measured and judged; 0 for "
        "never; not set: up to 50 times, but for no more than some 3 % of the time of the training",
    )
    seed: int = _setting(0, kinds.seed(), "Run", "seed of everything that is drawn")
    restarts: int = _setting(
        1,
        kinds.whole(1),
        "Run",
        "train so many times, each from other initial weights on the same rows, and keep the best",
    )
    save_every: int | str | None = _setting(
        None,
        kinds.interval(),
        "Run",
        "keep a numbered checkpoint every N epochs, or at the first epoch's end after a TIME such as 5m",
    )
    keep_last: int | None = _setting(
        None, kinds.whole(1), "Run", "keep the newest N of the numbered checkpoints; not set: all"
    )
    tensorboard: bool = _setting(
        False, kinds.flag(), "Run", "write the history for TensorBoard as well (needs the extra tensorboard)"
    )
    out: str | None = _setting(
        None, kinds.text("DIR", "a folder"), "Run", "run folder to make; not set: runs/<name>-<date>-<time>"
    )


_ROWS = "the rows and their split are those of the first epoch"
_MODEL = "it is part of the model, whose weights are trained already"
FIXED = {
    **dict.fromkeys(
        ("data", "target", "task", "drop", "categorical", "missing", "validation", "test"), _ROWS
    ),
    **dict.fromkeys(("hidden", "activation", "init", "batch_norm"), _MODEL),
    **dict.fromkeys(
        ("loss", "loss_option"), "the form of the targets, the best weights and the patience go by it"
    ),
    "seed": "all draws and the split of the rows follow from it",
    "restarts": "the run has had its restarts",
    "out": "the run has its folder",
}
"""Settings that cannot change while a run goes on, and why."""


@dataclass(frozen=True)
class SettingField:
    """A row of the table: everything that is known about one setting."""

    attribute: str
    default: Any
    kind: Kind
    section: str
    help: str

    @property
    def key(self) -> str:
        """The name with dashes, as in flags and TOML."""
        return self.attribute.replace("_", "-")

    def check(self, value: Any, where: str) -> Any:
        """Return ``value`` made uniform, or raise a `ConfigError` that begins with ``where``."""
        try:
            return self.kind.check(value)
        except ValueError:
            raise ConfigError(
                f"{where}: expected {self.kind.expected}, found {value!r}{self.kind.hint(value)}"
            ) from None

    def check_text(self, text: str | list[str], where: str) -> Any:
        """Return the value that a flag's text means; several texts where the flag may be repeated."""
        try:
            read = self.kind.from_text
            value = [read(part) for part in text] if isinstance(text, list) else read(text)
        except ValueError:
            raise ConfigError(f"{where}: expected {self.kind.expected}, found {text!r}") from None
        return self.check(value, where)


def setting_fields() -> dict[str, SettingField]:
    """Return the rows of the table by attribute name.

    >>> setting_fields()["max_steps"].key, setting_fields()["epochs"].default
    ('max-steps', 50)
    """
    return {
        field.name: SettingField(field.name, field.default, **field.metadata)
        for field in dataclasses.fields(Settings)
    }


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
    values = _read_toml(Path(config), fields) if config is not None else {}
    for attribute, text in _given(flags).items():
        field = fields[attribute]
        where = "NAME|FILE" if attribute == "data" else f"--{field.key}"
        values[attribute] = text if isinstance(text, bool) else field.check_text(text, where)
    return Settings(**values)


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


def _read_toml(path: Path, fields: Mapping[str, SettingField]) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"the configuration '{path}' cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is no TOML file: expected UTF-8 text, found {error.reason}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"'{path}' is not valid TOML: {error}; correct it") from None
    if isinstance(table.get("train"), dict):
        table = {**{k: v for k, v in table.items() if k != "train"}, **table["train"]}
    values: dict[str, Any] = {}
    for key, value in table.items():
        attribute = key.replace("-", "_")
        if attribute not in fields:
            raise ConfigError(
                f"'{path}': unknown key '{key}'{suggest(key, [field.key for field in fields.values()])}"
            )
        if attribute in values:
            raise ConfigError(f"'{path}': the key '{fields[attribute].key}' is given twice; keep one")
        values[attribute] = fields[attribute].check(value, f"'{path}', key '{key}'")
    return values


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
        # JSON's strings are TOML's, but for the one control character that JSON leaves as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
