"""A trainer written to a checkpoint and read back."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import backends, losses, nn, optim
from xpnet.errors import CheckpointError, ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Layout, Parameters
from xpnet.program.compiling import choose
from xpnet.train import checkpoint, metrics
from xpnet.train.changes import find_changes
from xpnet.train.history import Best, History

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["load", "save"]

_log = logging.getLogger("xpnet")

_SETTINGS = ("dtype", "precision", "seed", "split_seed", "compile", "l1", "l2", "max_norm", "label_smoothing",
             "gradient_noise", "clip_norm", "clip_value", "batches", "max_steps", "patience", "min_delta",
             "restore_best")  # fmt: skip


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / "trainer.safetensors"


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write ``trainer`` to ``path``; see :meth:`Trainer.save`."""
    if trainer.variables is None:
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
    named = _arrays_of("", trainer.variables)
    if trainer.newest is not None:
        named |= _arrays_of("newest.", trainer.newest)
    if trainer.best is not None:
        named |= _arrays_of("best.", trainer.best.variables)
    if trainer.mask is not None:
        named["mask"] = trainer.mask
    counters: dict[str, Any] = {}
    lists: dict[str, int] = {}
    for slot, value in (trainer.opt_state or {}).items():
        if isinstance(value, list) and all(hasattr(array, "shape") for array in value):
            lists[slot] = len(value)
            named |= {f"optimizer.{slot}.{i}": array for i, array in enumerate(value)}
        elif hasattr(value, "shape"):
            named[f"optimizer.{slot}"] = value
        elif isinstance(value, Parameters):
            named[f"optimizer.{slot}"] = value.flat
        else:
            counters[slot] = value
    description = {
        **_parts(trainer),
        "metrics": [name for name, metric in trainer.metrics.items() if metrics.is_known(name, metric)],
        "settings": _settings(trainer),
        "input_shape": list(trainer.input_shape or ()),
        "layout": [[name, list(shape)] for name, shape in trainer.variables.params.layout.entries],
        "optimizer_counters": counters,
        "optimizer_lists": lists,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "begun": trainer.begun,
        "best": None if trainer.best is None else {"epoch": trainer.best.epoch, "loss": trainer.best.loss},
        "newest": trainer.newest is not None,
        "history": trainer.history.rows,
    }
    try:
        json.dumps(description)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {file}: the trainer holds what cannot be written ({error}); an optimizer's state "
            "may hold numbers and arrays like the parameters, a history numbers and text"
        ) from error
    with trainer.backend.activate():
        arrays = {name: trainer.backend.to_host(value) for name, value in named.items()}
    checkpoint.write(file, arrays, description)


def load(
    kind: type[Trainer],
    path: str | os.PathLike[str],
    backend: Any,
    *,
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    **settings: Any,
) -> Trainer:
    """Return the trainer written to ``path``; see :meth:`Trainer.load`."""
    file = _file(path)
    arrays, description = checkpoint.read(file)
    try:
        stored = {"metrics": description["metrics"], **description["settings"]}
        parts = [
            _made(file, description, "model", model, nn.from_config),
            _made(file, description, "loss", loss, losses.get),
            _made(file, description, "optimizer", optimizer, optim.get),
        ]
        layout = Layout(tuple((name, tuple(shape)) for name, shape in description["layout"]))
        input_shape = tuple(description["input_shape"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {file}: is damaged ({error!r}); take another") from error
    _check_changes(file, description, settings)
    home = backends.backend(backend)
    if not _compiles_here(stored.get("compile"), home):
        stored["compile"] = "auto"
    if not _has_precision(home, stored.get("precision", "float32")):
        stored["precision"] = "float32"
    trainer = kind(*parts, backend=home, **{**stored, **settings})
    expected = trainer.model.init(trainer.seed, input_shape, "numpy", trainer.dtype)
    _check_fits(file, expected, layout, arrays)
    dtype = trainer.dtype

    def parameters(name: str) -> Parameters:
        return Parameters(home.asarray(arrays[name], dtype=dtype), layout)

    def variables(prefix: str) -> Variables:
        state = {
            n: home.asarray(a, dtype=dtype) for n, a in arrays.items() if n.startswith(f"{prefix}state.")
        }
        return Variables(parameters(f"{prefix}params"), checkpoint.unflatten(state, f"{prefix}state"))

    try:
        trainer.input_shape, trainer.variables = input_shape, variables("")
        trainer.opt_state = dict(description["optimizer_counters"])
        lists = description.get("optimizer_lists", {})
        for slot, length in lists.items():
            found = [arrays[f"optimizer.{slot}.{i}"] for i in range(length)]
            trainer.opt_state[slot] = [home.asarray(array, dtype=dtype) for array in found]
        for name in arrays:
            slot = name.removeprefix("optimizer.")
            if slot != name and slot.partition(".")[0] not in lists:
                of_method = "method" in trainer.opt_state
                trainer.opt_state[slot] = (
                    home.asarray(arrays[name], dtype=dtype) if of_method else parameters(name)
                )
        trainer.epoch, trainer.step = description["epoch"], description["step"]
        trainer.begun = description.get("begun", 0)  # older files know of no pruning
        trainer.history = History(description["history"])
        if description["newest"]:
            trainer.newest = variables("newest.")
        if "mask" in arrays:
            trainer.mask = home.asarray(arrays["mask"], dtype=dtype)
        if description["best"] is not None:
            trainer.best = Best(variables("best."), **description["best"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {file}: is damaged ({error!r}); take another") from error
    _report_changes(trainer, description)
    return trainer


def _check_changes(file: Path, description: dict[str, Any], settings: dict[str, Any]) -> None:
    """Refuse settings with which a training that has begun cannot go on."""
    for name in ("seed", "split_seed"):
        stored = description["settings"].get(name)
        if name in settings and settings[name] != stored:
            raise ConfigError(
                f"{name}: expected the {stored} of the checkpoint {file}, found {settings[name]!r}; draws "
                "of a training follow from one seed, the split into training and validation rows among them: "
                "leave it out, or train anew"
            )
    steps = settings.get("max_steps")
    if isinstance(steps, int) and steps < description["step"]:
        raise ConfigError(
            f"max_steps: expected at least the {description['step']} steps that the checkpoint {file} has "
            f"done, found {steps}; raise it, or pass None for no limit"
        )


def _report_changes(trainer: Trainer, description: dict[str, Any]) -> None:
    """Log what is done otherwise from here on than before the trainer was saved."""
    parts = _parts(trainer)
    before = {**{name: description[name] for name in parts}, **description["settings"]}
    after = {**parts, **_settings(trainer)}
    for change in find_changes(before, {name: after.get(name) for name in before}, trainer.epoch + 1):
        _log.info("%s", change)


def _parts(trainer: Trainer) -> dict[str, Any]:
    return {
        "model": _written(trainer.model),
        "loss": losses.to_config(trainer.loss),
        "optimizer": _written(trainer.optimizer),
    }


def _settings(trainer: Trainer) -> dict[str, Any]:
    return {name: getattr(trainer, name) for name in _SETTINGS}


def _compiles_here(lower: Any, home: backends.Backend) -> bool:
    """True unless steps were compiled by something that is not installed here, or for another backend."""
    try:
        return bool(choose(lower, home.xp))
    except ConfigError:
        return False


def _has_precision(home: backends.Backend, precision: Any) -> bool:
    """True unless the training was one on a device that has another precision than this one."""
    try:
        return bool(home.with_precision(precision))
    except ConfigError:
        return False


def _arrays_of(prefix: str, variables: Variables) -> dict[str, Any]:
    state = checkpoint.flatten(variables.state, f"{prefix}state") if variables.state else {}
    return {f"{prefix}params": variables.params.flat, **state}


def _check_fits(file: Path, expected: Variables, layout: Layout, arrays: dict[str, Any]) -> None:
    """Refuse arrays that are not those of the model: another one was passed, or its class has changed."""
    state = checkpoint.flatten(expected.state, "state") if expected.state else {}
    want = {name: tuple(shape) for name, shape in expected.params.layout.entries}
    want |= {name: tuple(array.shape) for name, array in state.items()}
    have = dict(layout.entries)
    have |= {name: array.shape for name, array in arrays.items() if name.startswith("state.")}
    for name in [*want, *have]:
        if want.get(name) != have.get(name):
            raise CheckpointError(
                f"checkpoint {file}: expected {name} of shape {want.get(name)} for the model, found "
                f"{have.get(name)}; pass the model that was saved"
            )


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
            f"checkpoint {file}: its {what} is of the user's own making, which a file cannot hold; {advice}"
        )
    try:
        return make(description[what])
    except ConfigError as error:
        raise CheckpointError(
            f"checkpoint {file}: its {what} cannot be made here ({error}); import what defines it, or "
            f"{advice}"
        ) from error
