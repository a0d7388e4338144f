"""Model, optimizer, diagnostics and trainer, built from settings."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from xpnet import backends, checks, nn, optim
from xpnet.cli.dataset import Prepared
from xpnet.cli.defaults import length_of, steps_of_epoch
from xpnet.cli.runs import RunFolder
from xpnet.cli.settings import FIXED, Settings
from xpnet.errors import CheckpointError, ConfigError
from xpnet.train import Diagnostics, Trainer
from xpnet.train.diagnostics.callback import affordable
from xpnet.train.settings import Settings as TrainerSettings
from xpnet.train.targets import outputs_for

__all__ = [
    "build_diagnostics",
    "build_optimizer",
    "build_trainer",
    "layer_widths",
    "load_trainer",
    "metric_of",
    "open_backend",
    "trainer_settings",
    "with_dropout",
    "with_rate",
]

_ENDS = ("patience", "min_delta", "min_steps", "time_limit")
_MOST_POINTS = 50
_SAMPLE = 128  # rows: half of what Diagnostics takes by itself, as runs of the command line are often short


def metric_of(task: str) -> str:
    """Return the main metric of a task."""
    return "accuracy" if task == "classification" else "r2"


def open_backend(settings: Settings) -> backends.Backend:
    """Return the backend of the settings, with their memory limit.

    Raises:
        BackendError: the device cannot work.
        ConfigError: a limit for a device whose memory cannot be limited.
    """
    backend, size = backends.backend(settings.backend), settings.device_memory
    if size is not None:
        backend.limit_memory(checks.memory_size("--device-memory", size))
    return backend


def with_rate(settings: Settings) -> Settings:
    """Return the settings with the optimizer's own learning rate where none is set."""
    if settings.learning_rate is not None or settings.optimizer in optim.METHODS:
        return settings
    kind = optim.OPTIMIZERS[settings.optimizer]
    return dataclasses.replace(settings, learning_rate=float(kind().learning_rate))


def build_optimizer(settings: Settings, rows: int) -> optim.Optimizer | optim.Method:
    """Return the optimizer with its schedule, whose length is that of the training.

    Args:
        settings: with a learning rate and a batch size.
        rows: number of training rows.

    Raises:
        ConfigError: an option that this optimizer does not have, such as ``momentum`` for adam.
    """
    options: dict[str, Any] = {}
    if settings.learning_rate is not None:
        options["learning_rate"] = _rate(settings, rows)
    elif settings.schedule != "constant" or settings.warmup:
        flag = "schedule" if settings.schedule != "constant" else "warmup"
        raise ConfigError(
            f"--{flag}: expected an optimizer with a learning rate, found {settings.optimizer}, which "
            "searches for its steps; leave it out, or choose --optimizer adam"
        )
    if settings.momentum:
        options["momentum"] = settings.momentum
    if settings.nesterov:
        options["nesterov"] = True
    if settings.weight_decay is not None:
        options["weight_decay"] = settings.weight_decay
    for option in options:
        able = [n for n, kind in optim.OPTIMIZERS.items() if option in inspect.signature(kind).parameters]
        if settings.optimizer not in able:
            raise ConfigError(
                f"--{option.replace('_', '-')}: expected an optimizer that has it ({', '.join(able)}), "
                f"found {settings.optimizer}; leave it out, or choose --optimizer {able[0]}"
            )
    return optim.get(settings.optimizer, **options)


def _rate(settings: Settings, rows: int) -> Any:
    rate: float = settings.learning_rate  # type: ignore[assignment]
    steps = length_of(settings, rows).epochs * steps_of_epoch(settings, rows)
    if settings.max_steps is not None:
        steps = min(steps, settings.max_steps)
    steps = max(1, steps - settings.warmup)
    schedule: Any = {
        "constant": lambda: rate,
        "inverse": lambda: optim.Inverse(rate),
        "step": lambda: optim.Step(rate, every=-(-steps // 3)),
        "exponential": lambda: optim.Exponential(rate, factor=0.01, every=steps),
        "cosine": lambda: optim.Cosine(rate, steps=steps),
    }[settings.schedule]()
    return optim.WarmUp(schedule, steps=settings.warmup) if settings.warmup else schedule


def build_diagnostics(prepared: Prepared, parameters: int) -> Diagnostics | None:
    """Return the diagnostics of a training, without a file; None if none are wanted.

    Args:
        prepared: the table and the settings.
        parameters: number of the model's parameters.
    """
    settings, rows = prepared.settings, len(prepared.parts["train"])
    steps, epochs = steps_of_epoch(settings, rows), length_of(settings, rows).epochs
    if settings.max_steps is not None:
        epochs = min(epochs, -(-settings.max_steps // steps))
    points = settings.diagnostics
    if points is None:
        batch = -(-rows // steps)
        points = min(_MOST_POINTS, affordable(parameters, epochs * steps, batch, _SAMPLE))
    if points == 0:
        return None
    every = round(epochs / max(1, points - 1))  # one is before the first epoch
    return Diagnostics(max(1, every), _SAMPLE)


def build_trainer(prepared: Prepared, backend: backends.Backend, seed: int | None = None) -> Trainer:
    """Return a trainer for the prepared table, before its first epoch.

    Args:
        prepared: the table and the settings.
        backend: where to compute.
        seed: of the trainer's draws, where it is not that of the settings.

    Raises:
        ConfigError: settings that contradict each other.
    """
    settings, encoder = prepared.settings, prepared.encoder
    loss = prepared.loss
    model = nn.MLP(
        settings.hidden,
        outputs_for(loss, encoder.n_classes, len(encoder.targets)),
        activation=settings.activation,
        weight_init=settings.weight_init,
        dropout=settings.dropout,
        batch_norm=settings.batch_norm,
    )
    trainer = Trainer(
        model,
        loss,
        build_optimizer(settings, len(prepared.parts["train"])),
        backend=backend,
        **{**trainer_settings(prepared), **({} if seed is None else {"seed": seed})},
    )
    trainer.state.run = prepared.manifest
    return trainer


def load_trainer(
    run: RunFolder,
    prepared: Prepared,
    backend: backends.Backend,
    start: str | None = None,
    *,
    recompile: bool = False,
) -> Trainer:
    """Return the trainer of a checkpoint, with the settings as they are from here on.

    Args:
        run: where it is.
        prepared: the table and the settings.
        backend: where to go on.
        start: the checkpoint; None for the last.
        recompile: whether ``compile`` is another setting now; one that is the same gives way where what it
            needs is not installed.

    Raises:
        CheckpointError: there is none, or it is damaged.
        ConfigError: settings that contradict each other or the model.
    """
    settings = prepared.settings
    options = {name: value for name, value in trainer_settings(prepared).items() if name not in FIXED}
    if not recompile:
        del options["compile"]
    optimizer = build_optimizer(settings, len(prepared.parts["train"]))
    try:
        trainer = Trainer.load(
            run.find_checkpoint(start or "last"), backend, loss=prepared.loss, optimizer=optimizer, **options
        )
    except CheckpointError as error:
        if start is None and run.checkpoint("best").is_file():
            raise CheckpointError(
                f"{error}. The best weights may still serve: xpnet predict {run.path} FILE "
                "--checkpoint best; training cannot continue from them"
            ) from error
        raise
    trainer.model = with_dropout(trainer.model, settings.dropout)
    trainer.state.run = prepared.manifest
    return trainer


def trainer_settings(prepared: Prepared) -> dict[str, Any]:
    """Return the trainer's arguments from settings."""
    settings = prepared.settings
    length = length_of(settings, len(prepared.parts["train"]))
    shared = [field.name for field in dataclasses.fields(TrainerSettings) if field.metadata["flag"]]
    return {
        **{name: getattr(settings, name) for name in shared},
        **{name: getattr(length, name) for name in _ENDS},
        "metrics": [metric_of(settings.task)],
        "restore_best": False,  # the best weights have a checkpoint of their own
        "progress": False,
    }


def with_dropout(model: nn.Layer, rate: float) -> nn.Layer:
    """Return the model with another rate in its Dropout layers.

    Raises:
        ConfigError: a rate above 0 for a model that was made without such layers.
    """
    layers = model.layers if isinstance(model, nn.Sequential) else ()
    if any(isinstance(layer, nn.Dropout) for layer in layers):
        return nn.Sequential(
            [nn.Dropout(rate) if isinstance(layer, nn.Dropout) else layer for layer in layers]
        )
    if rate:
        raise ConfigError(
            f"--dropout: expected 0, as the model has no Dropout layers, found {rate}; train anew with it"
        )
    return model


def layer_widths(prepared: Prepared) -> str:
    """Return the widths of the layers in the usual short form, such as ``64-128-10``."""
    settings, encoder = prepared.settings, prepared.encoder
    outputs = outputs_for(prepared.loss, encoder.n_classes, len(encoder.targets))
    return "-".join(map(str, (encoder.n_features, *settings.hidden, outputs)))
