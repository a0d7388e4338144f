"""What settings ask for, made: the model, the optimizer, the trainer."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from xpnet import backends, nn, optim
from xpnet.cli.preparing import Prepared
from xpnet.cli.settings import Settings
from xpnet.errors import ConfigError
from xpnet.losses import get as get_loss
from xpnet.train import Trainer
from xpnet.train.targets import outputs_for

__all__ = ["build_optimizer", "build_trainer", "layer_widths", "metric_of", "with_rate"]


def metric_of(task: str) -> str:
    """Return the metric that a task is judged by."""
    return "accuracy" if task == "classification" else "r2"


def with_rate(settings: Settings) -> Settings:
    """Return the settings with the optimizer's own learning rate where none is set."""
    if settings.lr is not None or settings.optimizer in optim.METHODS:
        return settings
    kind = optim.OPTIMIZERS[settings.optimizer]
    return dataclasses.replace(settings, lr=float(kind().learning_rate))


def build_optimizer(settings: Settings, rows: int) -> optim.Optimizer | optim.Method:
    """Return the optimizer with its schedule, whose length is that of the training.

    Args:
        settings: with a learning rate and a batch size.
        rows: number of training rows.

    Raises:
        ConfigError: an option that this optimizer does not have, such as ``momentum`` for adam.
    """
    options: dict[str, Any] = {}
    if settings.lr is not None:
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
            flag = "lr" if option == "learning_rate" else option.replace("_", "-")
            raise ConfigError(
                f"--{flag}: expected an optimizer that has it ({', '.join(able)}), "
                f"found {settings.optimizer}; leave it out, or choose --optimizer {able[0]}"
            )
    return optim.get(settings.optimizer, **options)


def _rate(settings: Settings, rows: int) -> Any:
    rate: float = settings.lr  # type: ignore[assignment]
    steps = settings.epochs * (1 if settings.batch_size == "full" else -(-rows // int(settings.batch_size)))  # type: ignore[arg-type]
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
        l1=settings.l1,
        l2=settings.l2,
        max_norm=settings.max_norm,
        label_smoothing=settings.label_smoothing,
        gradient_noise=settings.gradient_noise,
        clip_norm=settings.clip_norm,
        clip_value=settings.clip_value,
        batches=settings.batches,
        max_steps=settings.max_steps,
        patience=settings.patience,
        min_delta=settings.min_delta,
        restore_best=False,  # the best weights have a checkpoint of their own
        progress=False,
    )


def layer_widths(prepared: Prepared) -> str:
    """Return the widths of the layers in the usual short form, such as ``64-128-10``."""
    settings = prepared.settings
    outputs = outputs_for(get_loss(settings.loss), prepared.encoder.n_classes)
    return "-".join(map(str, (prepared.encoder.n_features, *settings.hidden, outputs)))
