"""Tables of the commands and their flags, and the typer application made of them."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import keyword
import re
import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from xpnet.cli import commands
from xpnet.cli.console import Stopped
from xpnet.errors import ConfigError
from xpnet.runs.pruning_settings import pruning_fields
from xpnet.runs.settings import FIXED, setting_fields
from xpnet.runs.signals import Interrupted
from xpnet.tabular.settings import SettingField
from xpnet.tabular.values import Texts

__all__ = ["Command", "Parameter", "build", "known_commands", "spelled"]


@dataclass(frozen=True)
class Parameter:
    """An argument (its name in capitals), an option with a value, or a switch, of one command.

    Values arrive as text or None; the command checks them, so that every message has the same form.
    """

    name: str
    help: str
    kind: str = "option"  # argument, optional or many (arguments), option, repeated, switch, on/off
    metavar: str | None = None
    section: str | None = None
    hidden: bool = False
    also: str = ""  # another name, for those who know it

    @property
    def attribute(self) -> str:
        """The name of the command function's argument; ``from`` becomes ``from_``."""
        name = self.name.lower().replace("-", "_")
        return f"{name}_" if keyword.iskeyword(name) else name

    @property
    def spellings(self) -> tuple[Parameter, ...]:
        """The parameter and, hidden, that of its other name."""
        if not self.also:
            return (self,)
        shown = dataclasses.replace(self, help=f"{self.help}; also --{self.also}")
        return (shown, dataclasses.replace(self, name=self.also, also="", hidden=True))


@dataclass(frozen=True)
class Command:
    """A command: the function that runs it, and its parameters in the order of ``--help``."""

    function: Callable[..., int | None]
    parameters: tuple[Parameter, ...]

    def shortened(self, main: Collection[str]) -> Command:
        """Return the command with the flags of these names, each in a few words; the others are hidden."""
        return dataclasses.replace(self, parameters=tuple(_shortened(p, main) for p in self.parameters))


def _shortened(p: Parameter, main: Collection[str]) -> Parameter:
    if p.kind in ("argument", "optional", "many"):
        return p
    said, default, value = p.help.partition(" (default: ")
    brief = re.split(r"[;:.] ", said)[0]
    metavar = None if p.metavar is None else p.metavar.partition("|")[0]
    hidden = p.name not in main
    return dataclasses.replace(
        p, help=f"{brief}{default}{value}", metavar=metavar, section=None, hidden=hidden
    )


# The flags that matter most: ``--help`` shows these, ``--help all`` all; of other commands both show all.
_MAIN = {
    "train": "target drop hidden loss optimizer learning-rate epochs backend out dry-run",
    "resume": "from epochs learning-rate batch-size patience l2 backend loss quiet",
    "prune": "sparsity scope tolerance rounds epochs learning-rate out resume json",
    "lr-range": "target drop hidden optimizer batch-size low high steps output",
    "tune": "target drop preset network trials time-limit epochs backend out config json",
    "graph": "output version wrt rows target hidden activation backend",
}
_EXAMPLES = {
    "train": (
        "xpnet train digits",
        "xpnet train flowers.csv --target species --out runs/flowers",
        "xpnet train houses.csv --target price --drop id --hidden 128,64 --epochs 200",
    ),
    "predict": ("xpnet predict runs/flowers new.csv --keep id --out predictions.csv",),
    "resume": (
        "xpnet resume runs/flowers --epochs 200",
        "xpnet resume runs/flowers --from epoch-50 --learning-rate 0.0003",
    ),
    "prune": (
        "xpnet prune runs/flowers --sparsity 90%",
        "xpnet prune runs/flowers --sparsity 0.5 --scope unit --tolerance 1%",
    ),
    "tune": (
        "xpnet tune flowers.csv --target species --time-limit 30m --out runs/tuned",
        "xpnet tune flowers.csv --target species --trials 20 --preset best",
    ),
    "lr-range": ("xpnet lr-range flowers.csv --target species --optimizer sgd",),
    "graph": (
        "xpnet graph 'tanh(w * x) ** 2' w=0.5 x=1,2 --output graph.svg",
        "xpnet graph flowers.csv --target species --hidden 4",
    ),
    "parity": ("xpnet parity numpy cuda",),
    "export": (
        "xpnet export runs/flowers --to onnx --out flowers.onnx",
        "xpnet export runs/flowers --to numpy --out flowers",
    ),
}
_HELP_ALL = "--help-all"
_DEBUG = Parameter("debug", "show the traceback of an error", "switch")
_JSON = Parameter("json", "print one JSON object instead of tables", "switch")
_QUIET = Parameter("quiet", "no progress and no messages but errors", "switch")
_RUN = Parameter("RUN", "a run folder", "argument")
_BACKEND = Parameter("backend", "where to compute; not set: auto", metavar="DEVICE", also="device")
_LOSS = Parameter(
    "loss",
    "the run's loss, where it is a function of your own: its code is run only where this flag names it",
    metavar="FILE.py:FUNCTION",
)
_POLICIES = (
    Parameter(
        "missing", "what becomes of missing cells; not set: as in training", metavar="impute|error|drop|mean"
    ),
    Parameter(
        "unseen",
        "what becomes of categories that training did not have: an error, or taken for none (default: error)",
        metavar="error|ignore",
    ),
)
# Settings of an untrained model; what concerns its training has no place in its graph.
_UNTRAINED = (
    "target", "task", "drop", "categorical", "use", "missing", "decimal", "thousands", "dayfirst", "scaling",
    "one_hot", "one_hot_up_to", "clamp", "preset", "network", "members", "hidden", "activation",
    "weight_init", "batch_norm", "loss", "loss_option", "seed",
)  # fmt: skip
# Settings that say how a table is taken.
_CHECKED = (
    "target", "task", "drop", "categorical", "use", "missing", "decimal", "thousands", "dayfirst", "scaling",
    "one_hot", "one_hot_up_to", "split_by", "group",
)  # fmt: skip
_CHECKPOINT = Parameter(
    "checkpoint",
    "which weights to use, such as epoch-50; not set: final",
    metavar="best|last|epoch-N",
)


def _train_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    settings = tuple(_parameter(field, with_choices) for field in setting_fields().values())
    config = Parameter("config", "TOML file of settings; flags win", metavar="FILE", section="Run")
    switches = (
        Parameter("print-config", "print the settings as TOML and end", "switch"),
        Parameter("dry-run", "read the data, build the model, say what would be done, and end", "switch"),
        _JSON,
        _QUIET,
        _DEBUG,
    )
    return (*settings, config, *(dataclasses.replace(switch, section="Output") for switch in switches))


def _tune_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    fields = dict(setting_fields())
    out = "folder of the search to make; not set: runs/<name>-<date>-<time>-tuning"
    fields["out"] = dataclasses.replace(fields["out"], help=out)
    limit = "end within so many seconds, the training of the best settings included"
    fields["time_limit"] = dataclasses.replace(fields["time_limit"], help=limit)
    return (
        *(_parameter(field, with_choices) for field in fields.values()),
        Parameter("trials", "how many trainings there are, at most", metavar="N", section="Search"),
        Parameter("config", "TOML file of settings; flags win", metavar="FILE", section="Run"),
        *(dataclasses.replace(switch, section="Output") for switch in (_JSON, _QUIET, _DEBUG)),
    )


def _check_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    fields = setting_fields()
    table = Parameter("FILE", "a table: a built-in name or a file", "argument")
    return (table, *(_parameter(fields[name], with_choices) for name in _CHECKED), _JSON, _DEBUG)


def _range_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    settings = (f for f in setting_fields().values() if f.attribute != "out")
    return (
        *(_parameter(field, with_choices) for field in settings),
        Parameter("config", "TOML file of settings; flags win", metavar="FILE", section="Run"),
        Parameter("low", "first learning rate (default: 1e-07)", metavar="X", section="Range"),
        Parameter("high", "last learning rate (default: 10)", metavar="X", section="Range"),
        Parameter("steps", "how many steps are taken, at most (default: 100)", metavar="N", section="Range"),
        Parameter(
            "output", ".svg, .png or .csv to write; not set: a table on stdout", metavar="FILE",
            section="Output",
        ),
        dataclasses.replace(_JSON, section="Output"),
        dataclasses.replace(_DEBUG, section="Output"),
    )  # fmt: skip


def _resume_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    start = Parameter(
        "from",
        "go on from this checkpoint; what was trained after it is given up",
        metavar="epoch-N",
    )
    changed = []
    for field in setting_fields().values():
        # those that are fixed are taken to be refused with the reason; --loss means something else here
        if field.attribute not in ("data", "loss"):
            help = f"{field.help}; none takes it back" if field.default is None else field.help
            asked = dataclasses.replace(field, help=help, default=False if field.default is False else None)
            hidden = field.attribute in FIXED
            changed.append(dataclasses.replace(_parameter(asked, with_choices), hidden=hidden))
    return (_RUN, start, *changed, _LOSS, _JSON, _QUIET, _DEBUG)


def _graph_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    fields = setting_fields()
    return (
        Parameter(
            "SOURCE", "an expression, a run folder, or a table for a model not yet trained", "argument"
        ),
        Parameter("VALUES", "of an expression's names: x=1, x=1,2 or x=1,2;3,4", "many", "NAME=VALUES"),
        Parameter("output", ".svg, .png, .dot or .mmd to write; not set: a table on stdout", metavar="FILE"),
        Parameter("version", "of back propagation: 1 sums over children, 2 pushes to parents", metavar="1|2"),
        Parameter("wrt", "differentiate by these; not set: all names, all weights", metavar="NAME[,NAME...]"),
        _BACKEND,
        Parameter("dtype", "floating type; not set: float64, for a new model float32", metavar="NAME"),
        Parameter("rows", "how many training rows of the table (default: 1)", metavar="N"),
        _CHECKPOINT,
        *(_parameter(fields[name], with_choices) for name in _UNTRAINED),
        _DEBUG,
    )


def _parameter(field: SettingField, with_choices: bool) -> Parameter:
    if field.attribute == "data":
        return Parameter("DATA", field.help, "optional", field.check.metavar)
    help = field.help
    if field.check.choices is not None and with_choices:
        help += f": {', '.join(field.check.choices())}"
    if field.default is not None and field.default != () and field.default is not False:
        shown = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        help += f" (default: {shown})"
    if isinstance(field.default, bool):
        return Parameter(field.key, help, "on/off", None, field.section, also=field.also)
    kind = "repeated" if isinstance(field.check, Texts) else "option"
    return Parameter(field.key, help, kind, field.check.metavar, field.section, also=field.also)


def _predict_parameters() -> tuple[Parameter, ...]:
    return (
        _RUN,
        Parameter("FILE", "table with the columns that the model was trained on", "argument"),
        Parameter("out", "CSV or Parquet file to write; not set: CSV on stdout", metavar="FILE"),
        Parameter("keep", "columns of FILE to stand before the predictions", "repeated", "COLUMN,..."),
        Parameter(
            "formulas",
            "text in CSV that spreadsheets take for a formula: with an apostrophe before it, or as it is "
            "(default: escape)",
            metavar="escape|keep",
        ),
        *_POLICIES,
        _CHECKPOINT,
        _BACKEND,
        _LOSS,
        _DEBUG,
    )


def _export_parameters() -> tuple[Parameter, ...]:
    return (
        _RUN,
        Parameter(
            "to",
            "onnx: one file with the table's encoder inside; numpy: a folder whose code needs NumPy alone; "
            "torch: a state dict of PyTorch, as safetensors",
            metavar="onnx|numpy|torch",
        ),
        Parameter("out", "file, or for numpy the folder, to make", metavar="PATH"),
        Parameter("overwrite", "replace an export that is there already", "switch"),
        _CHECKPOINT,
        _LOSS,
        _DEBUG,
    )


def _evaluate_parameters() -> tuple[Parameter, ...]:
    table = Parameter("FILE", "table with the target column; not set: the run's test rows", "optional")
    return (_RUN, table, *_POLICIES, _CHECKPOINT, _BACKEND, _LOSS, _JSON, _DEBUG)


def _prune_parameters(with_choices: bool) -> tuple[Parameter, ...]:
    return (
        Parameter("RUN", "the run folder of a trained network, which stays as it is", "argument"),
        *(_parameter(field, with_choices) for field in pruning_fields().values()),
        Parameter("out", "run folder to make; not set: RUN-pruned beside it", metavar="DIR"),
        _CHECKPOINT,
        dataclasses.replace(_BACKEND, help="where to compute; not set: where the run was trained"),
        _LOSS,
        Parameter("resume", "RUN is a pruning that was interrupted: go on with it", "switch"),
        _JSON,
        _QUIET,
        _DEBUG,
    )


def _parity_parameters() -> tuple[Parameter, ...]:
    return (
        Parameter("DEVICES", "two or more, such as numpy cuda; the first is the reference", "many"),
        Parameter("run", "a run of your own; not set: built-in networks", metavar="RUN"),
        Parameter("steps", "how many steps are taken (default: 32)", metavar="N"),
        Parameter("dtype", "floating type; not set: both", metavar="float32|float64"),
        dataclasses.replace(_CHECKPOINT, help="where the run's steps begin; not set: last"),
        _LOSS,
        _JSON,
        _DEBUG,
    )


# What makes the parameters of each command, whose function in `commands` has its name. The parser learns
# those of the one that is named, since each takes its time.
_COMMANDS: dict[str, Callable[[bool], tuple[Parameter, ...]]] = {
    "train": _train_parameters,
    "predict": lambda _: _predict_parameters(),
    "evaluate": lambda _: _evaluate_parameters(),
    "resume": _resume_parameters,
    "prune": _prune_parameters,
    "tune": _tune_parameters,
    "lr-range": _range_parameters,
    "graph": _graph_parameters,
    "export": lambda _: _export_parameters(),
    "parity": lambda _: _parity_parameters(),
    "check": _check_parameters,
    "env": lambda _: (_JSON, _DEBUG),
}


def known_commands(arguments: Sequence[str] = (), with_choices: bool = False) -> dict[str, Command]:
    """Return the command that a command line names, or all where it names none."""
    named = [name for name in arguments[:1] if name in _COMMANDS]
    return {
        name: Command(getattr(commands, name.replace("-", "_")), _COMMANDS[name](with_choices))
        for name in named or _COMMANDS
    }


def build(arguments: Sequence[str] = ()) -> Any:
    """Return the typer application for a command line.

    Args:
        arguments: the command line; names of losses and the like are looked up for the ``--help`` of
            commands with such settings only, since that loads NumPy.
    """
    import typer

    app = typer.Typer(
        name="xpnet",
        help="Train neural networks on tables, on any device.",
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            import xpnet

            typer.echo(f"xpnet {xpnet.__version__}")
            raise typer.Exit

    version_flag = typer.Option("--version", callback=show_version, is_eager=True, help="print the version")

    @app.callback()
    def _main(version: bool = False) -> None: ...

    _main.__annotations__["version"] = typing.Annotated[bool, version_flag]

    given = set(arguments)
    asked = {"-h", "--help", _HELP_ALL} & given
    following = [other for one, other in itertools.pairwise(arguments) if one in ("-h", "--help")]
    in_full = _HELP_ALL in given or "all" in following
    for name, command in known_commands(arguments, with_choices=bool(asked) and in_full).items():
        lines, shown = list(_EXAMPLES.get(name, ())), command
        if asked and not in_full and name in _MAIN:
            shown = command.shortened(_MAIN[name].split())
            lines.append(f"All flags: xpnet {name} --help all")
        help, epilog = inspect.getdoc(command.function), "\n\n".join(lines)
        app.command(name, help=help, epilog=epilog or None)(_typed(shown))
    return app


def spelled(arguments: Sequence[str]) -> list[str]:
    """Return a command line with flags as they are known: ``--learning_rate`` as ``--learning-rate``.

    >>> spelled(["train", "my_table.csv", "--learning_rate=0.1", "--drop", "my_id"])
    ['train', 'my_table.csv', '--learning-rate=0.1', '--drop', 'my_id']
    """
    known = [p for command in known_commands(arguments).values() for p in command.parameters]
    flags = {f"--{p.name}" for of in known for p in of.spellings}
    flags |= {f"--no-{p.name}" for p in known if p.kind == "on/off"}
    found: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[index:]]
        name, given, value = argument.partition("=")
        dashed = name.replace("_", "-")
        found.append(f"{dashed}{given}{value}" if dashed in flags else argument)
    return ["--help" if argument == _HELP_ALL else argument for argument in found]


def _typed(command: Command) -> Callable[..., Any]:
    """Return the command's function with the signature from which typer makes its parser."""

    def run(**values: Any) -> int | None:
        for p in command.parameters:
            if p.also:
                _take_other_name(p, values)
        try:
            return command.function(**values)
        except KeyboardInterrupt as stop:  # which the parser would take for its own
            raise Stopped(stop.words if isinstance(stop, Interrupted) else "interrupted") from None

    parameters = [
        inspect.Parameter(p.attribute, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for parameter in command.parameters
        for p in parameter.spellings
        for annotation, default in [_annotation(p)]
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _take_other_name(p: Parameter, values: dict[str, Any]) -> None:
    """Let a value that was given by the parameter's other name be one of its own."""
    other = values.pop(p.spellings[1].attribute)
    if other is None:
        return
    if values[p.attribute] is not None:
        raise ConfigError(
            f"--{p.also}: expected either this or --{p.name}, which are the same, found both; keep one"
        )
    values[p.attribute] = other


def _annotation(p: Parameter) -> tuple[Any, Any]:
    """Return typer's annotation of a parameter, and its default."""
    import typer

    if p.kind in ("argument", "optional", "many"):
        info = typer.Argument(metavar=p.metavar or p.name, help=p.help, show_default=False)
        if p.kind == "many":
            return typing.Annotated[list[str] | None, info], None
        required = p.kind == "argument"
        return typing.Annotated[str if required else str | None, info], ... if required else None
    both = f"--{p.name}/--no-{p.name}" if p.kind == "on/off" else f"--{p.name}"
    info = typer.Option(
        both, metavar=p.metavar, help=p.help, rich_help_panel=p.section, show_default=False, hidden=p.hidden
    )
    if p.kind == "switch":
        return typing.Annotated[bool, info], False
    value: Any = {"option": str, "repeated": list[str], "on/off": bool}[p.kind]
    return typing.Annotated[value | None, info], None
