"""A trainer written to a checkpoint and read back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet import backends, losses, nn, optim
from xpnet.errors import CheckpointError, ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Layout, Parameters
from xpnet.train import checkpoint
from xpnet.train.history import Best, History

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["load", "save"]

_SETTINGS = ("dtype", "seed", "compile", "l2", "clip_norm", "clip_value", "batches", "max_steps", "patience",
             "min_delta", "restore_best")  # fmt: skip


def _file(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / "trainer.safetensors"


def save(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write ``trainer`` to ``path``; see :meth:`Trainer.save`."""
    if trainer.variables is None:
        raise ConfigError("save: expected a trainer that has been trained, found one without variables; call fit")
    file = _file(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"checkpoint {file}: its folder cannot be made ({error.strerror})") from error
    named: dict[str, Any] = {"params": trainer.variables.params.flat}
    named |= checkpoint.flatten(trainer.variables.state, "state") if trainer.variables.state else {}
    counters: dict[str, Any] = {}
    for slot, value in (trainer.opt_state or {}).items():
        if isinstance(value, Parameters):
            named[f"optimizer.{slot}"] = value.flat
        else:
            counters[slot] = value
    best = trainer.best
    if best is not None:
        named["best.params"] = best.variables.params.flat
        named |= checkpoint.flatten(best.variables.state, "best_state") if best.variables.state else {}
    description = {
        "model": _written(trainer.model, "model"),
        "loss": _loss_name(trainer.loss),
        "optimizer": _written(trainer.optimizer, "optimizer"),
        "metrics": [name for name, metric in trainer.metrics.items() if _is_known_metric(name, metric)],
        "settings": {name: getattr(trainer, name) for name in _SETTINGS},
        "input_shape": list(trainer.input_shape or ()),
        "layout": [[name, list(shape)] for name, shape in trainer.variables.params.layout.entries],
        "optimizer_counters": counters,
        "epoch": trainer.epoch,
        "step": trainer.step,
        "best": None if best is None else {"epoch": best.epoch, "loss": best.loss},
        "history": trainer.history.rows,
    }
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
        trainer = kind(
            _read(file, description, "model", model, nn.from_config),
            _read(file, description, "loss", loss, losses.get),
            _read(file, description, "optimizer", optimizer, optim.get),
            backend=backends.backend(backend),
            **{"metrics": description["metrics"], **description["settings"], **settings},
        )
        layout = Layout(tuple((name, tuple(shape)) for name, shape in description["layout"]))
        home, dtype = trainer.backend, trainer.dtype

        def parameters(name: str) -> Parameters:
            return Parameters(home.asarray(arrays[name], dtype=dtype), layout)

        def state(prefix: str) -> dict[str, Any]:
            found = {n: home.asarray(a, dtype=dtype) for n, a in arrays.items() if n.startswith(f"{prefix}.")}
            return checkpoint.unflatten(found, prefix)

        trainer.input_shape = tuple(description["input_shape"])
        trainer.variables = Variables(parameters("params"), state("state"))
        trainer.opt_state = dict(description["optimizer_counters"])
        for name in arrays:
            if name.startswith("optimizer."):
                trainer.opt_state[name.removeprefix("optimizer.")] = parameters(name)
        trainer.epoch, trainer.step = description["epoch"], description["step"]
        trainer.history = History(description["history"])
        if description["best"] is not None:
            variables = Variables(parameters("best.params"), state("best_state"))
            trainer.best = Best(variables, **description["best"])
    except KeyError as error:
        raise CheckpointError(f"checkpoint {file}: is damaged (no entry {error})") from error
    return trainer


def _written(thing: Any, what: str) -> Any:
    """Return the configuration of a model or optimizer; None for one that only code can make."""
    try:
        return thing.to_config()
    except ConfigError:
        return None


def _loss_name(loss: Any) -> str | None:
    name = getattr(loss, "__name__", None)
    return name if losses.LOSSES.get(name) is loss else None  # type: ignore[arg-type]


def _is_known_metric(name: str, metric: Any) -> bool:
    from xpnet.train.metrics import METRICS

    return METRICS.get(name) is metric


def _read(file: Path, description: dict[str, Any], what: str, given: Any, make: Any) -> Any:
    if given is not None:
        return given
    if description[what] is None:
        raise CheckpointError(
            f"checkpoint {file}: its {what} is of the user's own making, which a file cannot hold; "
            f"pass it: Trainer.load(..., {what}=...)"
        )
    return make(description[what])
