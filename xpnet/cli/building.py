"""What settings ask for, made: the model, the optimizer, the trainer."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

from xpnet import backends, nn, optim
from xpnet.cli.preparing import Prepared
from xpnet.cli.settings import Settings
from xpnet.errors import ConfigError
from xpnet.losses import get as get_loss
from xpnet.train import Diagnostics, Trainer
from xpnet.train.diagnostics.callback import affordable
from xpnet.train.targets import outputs_for

__all__ = ["build_diagnostics", "build_optimizer", "build_trainer", "layer_widths", "metric_of", "with_rate"]

_MOST_POINTS = 50
_SAMPLE = 128  # rows: half of what Diagnostics takes by itself, as runs of the command line are often short


def metric_of(task: str) -> str:
    """Return the metric that a task is judged by."""
    return "accuracy" if task == "classification" else "r2"


def with_rate(settings: Settings) -> Settings:
    """Return the settings with the optimizer's own learning rate where none is set."""
    if settings.lr is not None:
        return settings
    kind = optim.OPTIMIZERS[settings.optimizer]
    return dataclasses.replace(settings, lr=float(kind().learning_rate))


def build_optimizer(settings: Settings, rows: int) -> optim.Optimizer:
    """Return the optimizer with its schedule, whose length is that of the training.

    Args:
        settings: with a learning rate and a batch size.
        rows: number of training rows.

    Raises:
        ConfigError: an option that this optimizer does not have, such as ``momentum`` for adam.
    """
    options: dict[str, Any] = {"learning_rate": _rate(settings, rows)}
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
    rate: float = settings.lr  # type: ignore[assignment]  # with_rate has set it
    steps = settings.epochs * _steps_of_epoch(settings, rows)
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


def _steps_of_epoch(settings: Settings, rows: int) -> int:
    return 1 if settings.batch_size == "full" else -(-rows // int(settings.batch_size))  # type: ignore[arg-type]


def build_diagnostics(prepared: Prepared, parameters: int, path: Path) -> Diagnostics | None:
    """Return the diagnostics of a training, None if none are wanted.

    Args:
        prepared: the table and the settings.
        parameters: number of the model's parameters.
        path: file for what is measured.
    """
    settings, rows = prepared.settings, len(prepared.parts["train"])
    steps, epochs = _steps_of_epoch(settings, rows), settings.epochs
    if settings.max_steps is not None:
        epochs = min(epochs, -(-settings.max_steps // steps))
    points = settings.diagnostics
    if points is None:
        batch = -(-rows // steps)
        points = min(_MOST_POINTS, affordable(parameters, epochs * steps, batch, _SAMPLE))
    if points == 0:
        return None
    every = round(epochs / max(1, points - 1))  # one is before the first epoch
    return Diagnostics(max(1, every), _SAMPLE, path)


def build_trainer(prepared: Prepared, backend: backends.Backend) -> Trainer:
    """Return a trainer for the prepared table, before its first epoch.

    Raises:
        ConfigError: settings that contradict each other.
    """
    settings, encoder = prepared.settings, prepared.encoder
    loss = get_loss(settings.loss)
    model = nn.MLP(
        settings.hidden,
        outputs_for(loss, encoder.n_classes),
        activation=settings.activation,
        weight_init=settings.init,
        dropout=settings.dropout,
        batch_norm=settings.batch_norm,
    )
    return Trainer(
        model,
        loss,
        build_optimizer(settings, len(prepared.parts["train"])),
        backend=backend,
        dtype=settings.dtype,
        seed=settings.seed,
        compile=settings.compile,
        metrics=[metric_of(settings.task)],
        l2=settings.l2,
        clip_norm=settings.clip_norm,
        clip_value=settings.clip_value,
        batches=settings.batches,
        max_steps=settings.max_steps,
        patience=settings.patience,
        restore_best=False,  # the best weights have a checkpoint of their own
        progress=False,
    )


def layer_widths(prepared: Prepared) -> str:
    """Return the widths of the layers in the usual short form, such as ``64-128-10``."""
    settings = prepared.settings
    outputs = outputs_for(get_loss(settings.loss), prepared.encoder.n_classes)
    return "-".join(map(str, (prepared.encoder.n_features, *settings.hidden, outputs)))
