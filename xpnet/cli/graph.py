"""Command ``xpnet graph``: the computation graph of an expression or of a model's loss, with derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xpnet import autodiff, backends, checks
from xpnet.autodiff import Graph
from xpnet.autodiff.graphs.expressions import Expression, read_value
from xpnet.autodiff.tracer import is_floating
from xpnet.cli.console import message
from xpnet.cli.flags import resolve
from xpnet.data import BUILTIN
from xpnet.errors import ConfigError, DataError, suggest
from xpnet.files import write_atomically
from xpnet.runs.folder import RunFolder
from xpnet.runs.manifest import read_run
from xpnet.runs.settings import Settings
from xpnet.tabular.dataset import prepare
from xpnet.tabular.losses import import_loss, is_code
from xpnet.tabular.parts import Part
from xpnet.tabular.trainer import build_trainer, with_rate
from xpnet.train import Trainer
from xpnet.train import rows as train_rows
from xpnet.train.initialization import initial_variables
from xpnet.train.members import as_rows

__all__ = ["graph_of", "write_graph"]

# The flags that mean something for each kind of source; None: all but those of the others.
_MEANT = {
    "an expression": {"wrt", "backend", "dtype"},
    "a run folder": {"wrt", "backend", "rows", "checkpoint", "loss"},
    "a table": None,
}


def graph_of(source: str, values: Sequence[str], flags: Mapping[str, Any], *, version: int) -> Graph:
    """Return the graph of an expression, a run or a new model, with cotangents.

    Args:
        source: an expression such as ``(y - w @ x)**2``, a run folder, or a table's name or file.
        values: of an expression's names, such as ``w=1,2``.
        flags: texts by name, None where a flag was not given.
        version: of back propagation: 1 or 2.

    Raises:
        ConfigError: an expression, a name, a setting or shapes that cannot be meant.
        CheckpointError: a damaged run folder.
        DataError: a table that cannot be used.
        BackendError: the device cannot work.
    """
    kind = _kind(source)
    given = {name: text for name, text in flags.items() if text is not None and text != []}
    meant = _MEANT[kind] or given.keys() - {"checkpoint"}
    for name in given:
        if name not in meant:
            raise ConfigError(f"--{name.replace('_', '-')} has no meaning for {kind}, which '{source}' is")
    if values and kind != "an expression":
        raise ConfigError(f"'{values[0]}': expected values behind an expression only; '{source}' is {kind}")
    wrt, rows = given.pop("wrt", None), checks.count.of_text("--rows", given.pop("rows", "1"))
    checkpoint, loss = given.pop("checkpoint", None), given.get("loss")
    settings = resolve({**given, "data": source if kind == "a table" else None})
    if kind == "an expression":
        return _expression_graph(
            source, values, wrt, settings.backend, given.get("dtype", "float64"), version
        )
    if kind == "a run folder":
        return _run_graph(source, checkpoint, settings.backend, loss, rows, wrt, version)
    return _table_graph(settings, import_loss(loss), rows, wrt, version)


def _kind(source: str) -> str:
    try:
        if source and Path(source).is_dir():
            return "a run folder"
        return "a table" if source in BUILTIN or Path(source).is_file() else "an expression"
    except (OSError, ValueError):  # too long for a name of a file
        return "an expression"


def _expression_graph(
    text: str, assignments: Sequence[str], wrt: str | None, device: str, dtype: str, version: int
) -> Graph:
    expression = Expression(text)
    backend = backends.backend(device)
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, given = assignment.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise ConfigError(f"expected NAME=NUMBER[,NUMBER...] behind the expression, found '{assignment}'")
        if name in values:
            raise ConfigError(f"{name}: expected one value, found a second one, '{given}'")
        if name not in expression.names:
            raise ConfigError(f"the expression has no name '{name}'{suggest(name, expression.names)}")
        values[name] = backend.asarray(read_value(given, name), dtype=dtype)
    expression.check_names(values)
    if not values:
        raise ConfigError(f"'{text}' has no names, so there is nothing to differentiate by; use x and x=1")
    with backend.activate():
        return _propagated(expression, values, _chosen(wrt, values, list(values)), version)


def _run_graph(
    path: str,
    checkpoint: str | None,
    device: str,
    loss: str | None,
    rows: int,
    wrt: str | None,
    version: int,
) -> Graph:
    folder = RunFolder.open(path)
    file = folder.find_checkpoint(checkpoint)
    run = read_run(folder, file)
    prepared = run.prepare(loss=loss)
    own = prepared.loss if is_code(run.settings.loss) else None
    trainer = Trainer.load(file, device, loss=own, encoded=True, progress=False)
    return _model_graph(trainer, prepared.parts["train"], rows, wrt, version)


def _table_graph(
    settings: Settings, own_loss: Callable[..., Any] | None, rows: int, wrt: str | None, version: int
) -> Graph:
    backend = backends.backend(settings.backend)
    prepared = prepare(with_rate(settings), own_loss=own_loss)
    trainer = build_trainer(prepared, backend)
    shape = (prepared.encoder.n_features,)
    X = backend.asarray(prepared.parts["train"].X, dtype=settings.dtype)
    trainer.variables = initial_variables(trainer.setup, shape, X)
    return _model_graph(trainer, prepared.parts["train"], rows, wrt, version)


def _model_graph(trainer: Trainer, part: Part, count: int, wrt: str | None, version: int) -> Graph:
    if count > len(part):
        raise DataError(f"--rows: expected at most the {len(part)} training rows, found {count}")
    params, state = trainer.variables
    layout = params.layout
    rows = train_rows.prepare(trainer.setup, part.X[:count], part.y[:count], width=trainer.state.input_shape)

    def loss(values: Mapping[str, Any]) -> Any:
        tree = layout.tree(tuple(values[name] for name in layout.names))
        outputs, _ = trainer.model.forward(tree, state, values["x"], training=False, key=None)
        outputs, y, _ = as_rows(trainer.model, outputs, values["y"], None)
        return trainer.loss(outputs, y)

    values = {name: params[name] for name in layout.names} | {"x": rows.X, "y": rows.y}
    with trainer.backend.activate():
        return _propagated(loss, values, _chosen(wrt, values, layout.names), version)


def _chosen(wrt: str | None, values: Mapping[str, Any], default: Sequence[str]) -> list[str]:
    """Return the names to differentiate by."""
    if wrt is None:
        return list(default)
    names = [name.strip() for name in wrt.split(",") if name.strip()]
    for name in names:
        if name not in values:
            raise ConfigError(f"--wrt: expected names of inputs, found '{name}'{suggest(name, values)}")
    if not names:
        raise ConfigError(f"--wrt: expected names of inputs, found '{wrt}'; known: {', '.join(values)}")
    return list(dict.fromkeys(names))


def _propagated(
    f: Callable[[Mapping[str, Any]], Any], values: Mapping[str, Any], wrt: Sequence[str], version: int
) -> Graph:
    """Return the graph of ``f``, forward and backward done, with inputs called by their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # infinities and NaN are shown
        made = autodiff.graph(lambda chosen: f({**values, **chosen}), {name: values[name] for name in wrt})
        names = {id(x): name for name, x in values.items()}
        inputs = iter(wrt)
        for node in made.nodes:
            if node.kind == "input":
                node.name = next(inputs)
            elif node.kind == "constant":
                node.name = names.get(id(node.value), node.name)
        result = made.forward()
        if not is_floating(result):
            raise ConfigError(f"expected a floating result, found {type(result).__name__} without derivative")
        if tuple(result.shape):
            message(
                f"the result has shape {tuple(result.shape)}: cotangents are those of the sum of its entries"
            )
        made.backward(version, cotangent=backends.array_namespace(result).ones_like(result))
    return made


def write_graph(graph: Graph, path: Path, title: str) -> None:
    """Write a picture (SVG, PNG) or the text of one (DOT, Mermaid), by the extension of ``path``.

    Raises:
        OSError: the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind == ".dot":
        write_atomically(path, graph.to_dot())
    elif kind == ".mmd":
        write_atomically(path, graph.to_mermaid())
    else:
        from xpnet.plot.figures import save_figure
        from xpnet.plot.graphs import graph_figure

        save_figure(graph_figure(graph, title=title), path)
