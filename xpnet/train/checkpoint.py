"""Trainings written to checkpoints and read back."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet import backends, checks, losses, nn, optim
from xpnet.errors import CheckpointError, ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Layout, Parameters
from xpnet.schema import ANY, DAMAGE, NUMBER, TEXT, check
from xpnet.text import visible
from xpnet.train import checkpoint_file, metrics
from xpnet.train.changes import find_changes
from xpnet.train.history import Best, History
from xpnet.train.settings import Settings, stored
from xpnet.train.setup import Setup, changes_for
from xpnet.train.state import Average, TrainState

__all__ = ["load", "save", "warn_of_table"]

_warned: set[Path] = set()  # checkpoints of which was told
_log = logging.getLogger("xpnet")
_DESCRIPTION = {
    "format": checks.count,
    "model": ({...: ANY}, None),
    "loss": (TEXT, {...: ANY}, None),
    "optimizer": ({...: ANY}, None),
    "metrics": [TEXT],
    "settings": {f"{field.name}?": ANY for field in dataclasses.fields(Settings) if field.metadata["stored"]},
    "input_shape": [checks.count],
    "layout": [[TEXT, [checks.count]]],
    "optimizer_counters": {"step?": checks.whole(0), ...: ANY},
    "optimizer_lists?": {...: checks.whole(0)},
    "epoch": checks.whole(0),
    "step": checks.whole(0),
    "begun?": checks.whole(0),
    "best": ({"epoch": checks.whole(0), "loss": NUMBER}, None),
    "newest": checks.flag,
    "average?": ({"kind": TEXT, "terms": checks.whole(0)}, None),
    "history": [{"epoch": checks.whole(0), "step": checks.whole(0), "loss": NUMBER, ...: ANY}],
    "columns?": ([TEXT], None),
    "rows?": ([NUMBER, NUMBER, NUMBER], None),
    "run?": ({...: ANY}, None),
}


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / "trainer.safetensors"


def save(setup: Setup, state: TrainState, path: str | os.PathLike[str]) -> None:
    """Write a training to ``path``; see :meth:`Trainer.save`."""
    if state.variables is None:
        raise ConfigError(
            "save: expected a trainer that has been trained, found one without variables; call fit"
        )
    file = _file(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {file}: its folder cannot be made ({error.strerror}); choose another place"
        ) from error
    named, described = _written_state(state)
    description = {
        **_parts(setup),
        "metrics": [name for name, metric in setup.metrics.items() if metrics.is_known(name, metric)],
        "settings": stored(setup.settings),
        **described,
    }
    try:
        json.dumps(description)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {file}: the trainer holds what cannot be written ({error}); an optimizer's state "
            "may hold numbers and arrays like the parameters, a history numbers and text"
        ) from error
    with setup.backend.activate():
        arrays = {name: setup.backend.to_host(value) for name, value in named.items()}
    checkpoint_file.write(file, arrays, description)


def _written_state(state: TrainState) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays of a state by name, and all else as plain data."""
    assert state.variables is not None
    named = _arrays_of("", state.variables)
    if state.last is not None:
        named |= _arrays_of("newest.", state.last)
    if state.best is not None:
        named |= _arrays_of("best.", state.best.variables)
    if state.average is not None:
        named |= _arrays_of("average.", state.average.variables)
    if state.mask is not None:
        named["mask"] = state.mask
    counters: dict[str, Any] = {}
    lists: dict[str, int] = {}
    for slot, value in (state.opt_state or {}).items():
        if isinstance(value, list) and all(hasattr(array, "shape") for array in value):
            lists[slot] = len(value)
            named |= {f"optimizer.{slot}.{i}": array for i, array in enumerate(value)}
        elif hasattr(value, "shape"):
            named[f"optimizer.{slot}"] = value
        elif isinstance(value, Parameters):
            named[f"optimizer.{slot}"] = value.flat
        else:
            counters[slot] = value
    return named, {
        "input_shape": list(state.input_shape or ()),
        "layout": [[name, list(shape)] for name, shape in state.variables.params.layout.entries],
        "optimizer_counters": counters,
        "optimizer_lists": lists,
        "epoch": state.epoch,
        "step": state.step,
        "begun": state.patience_since,
        "best": None if state.best is None else {"epoch": state.best.epoch, "loss": state.best.loss},
        "newest": state.last is not None,
        "average": None
        if state.average is None
        else {"kind": state.average.kind, "terms": state.average.terms},
        "history": state.history.rows,
        "columns": None if state.columns is None else list(state.columns),
        "rows": state.rows,
        "run": state.run,
    }


def load(
    path: str | os.PathLike[str],
    backend: Any,
    *,
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    **changes: Any,
) -> tuple[dict[str, Any], Callable[[Setup], TrainState]]:
    """Return the arguments of the trainer written to ``path``, and a function that reads its state.

    Args:
        path, backend, model, loss, optimizer: as for :meth:`Trainer.load`.
        changes: settings that are others from here on.
    """
    file = _file(path)
    arrays, description = checkpoint_file.read(file)
    _check_description(file, description)
    try:
        arguments = {"metrics": description["metrics"], **description["settings"]}
        parts = {
            "model": _made(file, description, "model", model, nn.from_config),
            "loss": _made(file, description, "loss", loss, losses.get),
            "optimizer": _made(file, description, "optimizer", optimizer, optim.get),
        }
        layout = Layout(tuple((name, tuple(shape)) for name, shape in description["layout"]))
        input_shape = tuple(description["input_shape"])
        parts["model"].output_shape(input_shape)  # complains about misfits
        expected = parts["model"].parameter_shapes(input_shape)
    except DAMAGE as error:
        raise _damaged(file, error) from error
    _check_shapes(file, expected, dict(layout.entries))
    _check_changes(file, description, changes)
    home = backends.backend(backend)
    arguments |= changes_for(home, arguments.get("compile"), arguments.get("precision", "float32"))

    def read(setup: Setup) -> TrainState:
        try:
            state = _read_state(arrays, description, layout, home, setup.dtype)
            expected = checkpoint_file.flatten(setup.model.initial_state(input_shape) or {}, "state")
            found = {name: array for name, array in arrays.items() if name.startswith("state.")}
        except DAMAGE as error:
            raise _damaged(file, error) from error
        _check_shapes(file, *({n: tuple(x.shape) for n, x in table.items()} for table in (expected, found)))
        _report_changes(setup, state, description)
        return state

    return {**parts, **arguments, "backend": home, **changes}, read


def warn_of_table(path: str | os.PathLike[str], state: TrainState) -> None:
    """Log that the network of a table predicts standardized values or class indices, once for each file."""
    file = _file(path).resolve()
    if not state.run or "encoder" not in state.run or file in _warned:
        return
    _warned.add(file)
    is_run = (file.parent.parent / "config.toml").is_file()
    home = file.parent.parent if is_run else file.parent
    whole = f"xpnet.runs.open({str(home)!r})" if is_run else f"xpnet.tabular.TableModel.load({str(home)!r})"
    _log.warning(
        "checkpoint %s: is the network of a table without its encoder: it takes encoded rows, and predicts "
        "standardized values or class indices; for tables, units and labels: %s",
        visible(file),
        visible(whole),
    )


def _read_state(
    arrays: dict[str, Any], description: dict[str, Any], layout: Layout, home: backends.Backend, dtype: str
) -> TrainState:
    def array(name: str) -> Any:
        return home.asarray(arrays[name], dtype=dtype)

    def variables(prefix: str) -> Variables:
        state = {name: array(name) for name in arrays if name.startswith(f"{prefix}state.")}
        params = Parameters(array(f"{prefix}params"), layout)
        return Variables(params, checkpoint_file.unflatten(state, f"{prefix}state"))

    opt_state = dict(description["optimizer_counters"])
    lists = description.get("optimizer_lists", {})
    for slot, length in lists.items():
        opt_state[slot] = [array(f"optimizer.{slot}.{i}") for i in range(length)]
    for name in arrays:
        slot = name.removeprefix("optimizer.")
        if slot != name and slot.partition(".")[0] not in lists:
            of_method = "method" in opt_state
            opt_state[slot] = array(name) if of_method else Parameters(array(name), layout)
    if "mask" in arrays and arrays["mask"].shape != (layout.size,):
        raise ValueError(f"mask of shape {arrays['mask'].shape} for {layout.size} parameters")
    best, average = description["best"], description.get("average")
    return TrainState(
        variables=variables(""),
        opt_state=opt_state,
        epoch=description["epoch"],
        step=description["step"],
        history=History(description["history"]),
        best=None if best is None else Best(variables("best."), **best),
        last=variables("newest.") if description["newest"] else None,
        average=None if average is None else Average(variables("average."), **average),
        mask=array("mask") if "mask" in arrays else None,
        patience_since=description.get("begun", 0),  # older files know of no pruning
        input_shape=tuple(description["input_shape"]),
        columns=tuple(description.get("columns") or ()) or None,  # of which older files know nothing
        rows=description.get("rows"),
        run=description.get("run"),  # of which older files know nothing either
    )


def _check_changes(file: Path, description: dict[str, Any], changes: dict[str, Any]) -> None:
    """Refuse settings with which a training that has begun cannot go on."""
    for field in dataclasses.fields(Settings):
        before = description["settings"].get(field.name)
        if field.metadata["fixed"] and field.name in changes and changes[field.name] != before:
            raise ConfigError(
                f"{field.name}: expected the {before} of the checkpoint {file}, found "
                f"{changes[field.name]!r}; {field.metadata['fixed']}: leave it out, or train anew"
            )
    steps = changes.get("max_steps")
    if isinstance(steps, int) and steps < description["step"]:
        raise ConfigError(
            f"max_steps: expected at least the {description['step']} steps that the checkpoint {file} has "
            f"done, found {steps}; raise it, or pass None for no limit"
        )


def _report_changes(setup: Setup, state: TrainState, description: dict[str, Any]) -> None:
    """Log what is done otherwise from here on than before the training was saved."""
    parts = _parts(setup)
    before = {**{name: description[name] for name in parts}, **description["settings"]}
    after = {**parts, **stored(setup.settings)}
    for change in find_changes(before, {name: after.get(name) for name in before}, state.epoch + 1):
        _log.info("%s", change)


def _parts(setup: Setup) -> dict[str, Any]:
    return {
        "model": _written(setup.model),
        "loss": losses.to_config(setup.loss),
        "optimizer": _written(setup.optimizer),
    }


def _arrays_of(prefix: str, variables: Variables) -> dict[str, Any]:
    state = checkpoint_file.flatten(variables.state, f"{prefix}state") if variables.state else {}
    return {f"{prefix}params": variables.params.flat, **state}


def _check_description(file: Path, description: dict[str, Any]) -> None:
    """Refuse a description that is not what `save` writes, before anything is made of it."""
    try:
        check(description, _DESCRIPTION)
    except ValueError as error:
        raise _damaged(file, error) from error


def _check_shapes(file: Path, expected: dict[str, Any], found: dict[str, Any]) -> None:
    """Refuse arrays that are not those of the model: another one was passed, or its class has changed."""
    for name in [*expected, *found]:
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"checkpoint {file}: expected {visible(name)} of shape {expected.get(name)} for the model, "
                f"found {found.get(name)}; pass the model that was saved"
            )


def _damaged(file: Path, error: Exception) -> CheckpointError:
    how = str(error) if isinstance(error, ValueError) else repr(error)
    return CheckpointError(f"checkpoint {file}: is damaged ({how}); take another")


def _written(thing: Any) -> Any:
    """Return the configuration of a model or optimizer; None for one that only code can make."""
    try:
        return json.loads(json.dumps(thing.to_config()))  # in the form in which it is read back
    except (ConfigError, TypeError, ValueError):
        return None


def _made(file: Path, description: dict[str, Any], what: str, given: Any, make: Any) -> Any:
    """Return the model, loss or optimizer: the given one, else that which the file describes."""
    if given is not None:
        return given
    advice = f"pass it: Trainer.load(..., {what}=...)"
    if description[what] is None:
        raise CheckpointError(
            f"checkpoint {file}: its {what} is the user's own code, which a file cannot hold; {advice}"
        )
    try:
        return make(description[what])
    except ConfigError as error:
        raise CheckpointError(
            f"checkpoint {file}: its {what} cannot be made here ({error}); import what defines it, or "
            f"{advice}"
        ) from error
