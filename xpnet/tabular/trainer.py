"""Model, optimizer and trainer, built from settings, and their training."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from xpnet import backends, checks, nn, optim
from xpnet.errors import ConfigError, use
from xpnet.parameters import Layout
from xpnet.tabular.dataset import Prepared
from xpnet.tabular.defaults import RATES, default_weight_decay, length_of, steps_of_epoch
from xpnet.tabular.settings import Settings
from xpnet.train import Trainer
from xpnet.train.deadline import Deadline
from xpnet.train.groups import known_names
from xpnet.train.metrics import METRICS, OF_NUMBERS
from xpnet.train.monitor import LOSS
from xpnet.train.settings import Settings as TrainerSettings
from xpnet.train.targets import outputs_for

__all__ = [
    "batch_size_of",
    "build_optimizer",
    "build_trainer",
    "dropout_of",
    "fit_trainer",
    "layer_widths",
    "metric_of",
    "metrics_of",
    "open_backend",
    "trainer_settings",
    "with_rate",
]

S = TypeVar("S", bound=Settings)
REALMLP_RATES = {"scale": 6.0, "biases": 0.1, "activation": 0.1, "0.numbers": 0.1}
"""Factors of RealMLP's learning rate by names of parameters."""

_NAMES = {"realmlp": "RealMLP", "realmlp_simple": "RealMLP-TD-S", "tabm": "TabM"}
_ENDS = ("patience", "min_delta", "min_steps", "time_limit")


def metric_of(task: str) -> str:
    """Return the main metric of a task."""
    return "accuracy" if task == "classification" else "r2"


def metrics_of(settings: Settings) -> list[str]:
    """Return the metrics that are measured after each epoch: the main one, and the monitored one.

    Raises:
        ConfigError: a metric that there is none of, or one that is for another task.
    """
    main = metric_of(settings.task)
    if settings.monitor == LOSS:
        return [main]
    monitored = settings.monitor.removeprefix("validation_")
    known = [name for name in METRICS if (name in OF_NUMBERS) is (settings.task == "regression")]
    if monitored not in known:
        raise ConfigError(
            f"{use('monitor')}: expected validation_loss, or a metric of {settings.task} "
            f"({', '.join(f'validation_{name}' for name in known)}), found {settings.monitor}; choose one"
        )
    return list(dict.fromkeys([main, monitored]))


def open_backend(settings: Settings) -> backends.Backend:
    """Return the backend of the settings, with their memory limit.

    Raises:
        BackendError: the device cannot work.
        ConfigError: a limit for a device whose memory cannot be limited.
    """
    backend, size = backends.backend(settings.backend), settings.device_memory
    if size is not None:
        backend.limit_memory(checks.memory_size(use("device_memory"), size))
    return backend


def with_rate(settings: S) -> S:
    """Return the settings with the default learning rate of the optimizer where none is set."""
    if settings.learning_rate is not None or settings.optimizer in optim.METHODS:
        return settings
    own = float(optim.OPTIMIZERS[settings.optimizer]().learning_rate)
    return dataclasses.replace(settings, learning_rate=RATES.get(settings.optimizer, own))


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
        name = "schedule" if settings.schedule != "constant" else "warmup"
        raise ConfigError(
            f"{use(name)}: expected an optimizer with a learning rate, found {settings.optimizer}, which "
            f"searches for its steps; leave it out, or choose {use('optimizer', 'adam')}"
        )
    if settings.momentum:
        options["momentum"] = settings.momentum
    if settings.beta2 is not None:
        options["beta2"] = settings.beta2
    if settings.nesterov:
        options["nesterov"] = True
    if settings.weight_decay is not None:
        options["weight_decay"] = settings.weight_decay
    elif settings.optimizer == "adamw" and settings.learning_rate is not None:
        steps = steps_of_epoch(settings, rows)
        options["weight_decay"] = default_weight_decay(steps, settings.learning_rate)
    if settings.weight_decay_schedule != "constant":
        decay = options.get("weight_decay", 0.0)
        options["weight_decay"] = _course(settings.weight_decay_schedule, decay, _steps(settings, rows))
    for option in options:
        able = [n for n, kind in optim.OPTIMIZERS.items() if option in inspect.signature(kind).parameters]
        if settings.optimizer not in able:
            of_schedule = option == "weight_decay" and settings.weight_decay is None
            asked = "weight_decay_schedule" if of_schedule else option
            raise ConfigError(
                f"{use(asked)}: expected an optimizer that has it ({', '.join(able)}), found "
                f"{settings.optimizer}; leave it out, or choose {use('optimizer', able[0])}"
            )
    return optim.get(settings.optimizer, **options)


def _rate(settings: Settings, rows: int) -> Any:
    rate: float = settings.learning_rate  # type: ignore[assignment]
    if settings.schedule == "coslog" and settings.warmup:
        raise ConfigError(
            f"{use('warmup')}: expected 0 steps with the schedule coslog, whose rate begins at 0, found "
            f"{settings.warmup}; leave it out"
        )
    steps = max(1, _steps(settings, rows) - settings.warmup)
    schedule = _course(settings.schedule, rate, steps)
    return optim.WarmUp(schedule, steps=settings.warmup) if settings.warmup else schedule


def dropout_of(settings: Settings, rows: int) -> Any:
    """Return the rate of dropout, or its schedule, whose length is that of the training."""
    return _course(settings.dropout_schedule, settings.dropout, _steps(settings, rows))


def _steps(settings: Settings, rows: int) -> int:
    """Return the number of steps of a training, at most."""
    steps = length_of(settings, rows).epochs * steps_of_epoch(settings, rows)
    return steps if settings.max_steps is None else min(steps, settings.max_steps)


def _course(schedule: str, value: float, steps: int) -> Any:
    """Return the schedule of that name for a highest value; the value itself if it is constant, or 0."""
    if not value:
        return value
    courses: dict[str, Callable[[], Any]] = {
        "constant": lambda: value,
        "inverse": lambda: optim.Inverse(value),
        "step": lambda: optim.Step(value, every=-(-steps // 3)),
        "exponential": lambda: optim.Exponential(value, factor=0.01, every=steps),
        "cosine": lambda: optim.Cosine(value, steps=steps),
        "flat_cosine": lambda: optim.FlatCosine(value, steps=steps),
        "coslog": lambda: optim.CosLog(value, steps=steps),
    }
    return courses[schedule]()


def build_network(prepared: Prepared[Any]) -> nn.Layer:
    """Return the network for the features of the prepared table.

    Raises:
        ConfigError: a setting that this form of network does not have, or codes for one without embeddings.
    """
    settings, encoder = prepared.settings, prepared.encoder
    outputs = outputs_for(prepared.loss, encoder.n_classes, len(encoder.targets))
    dropout = dropout_of(settings, len(prepared.parts["train"]))
    blocks = encoder.blocks
    shared: dict[str, Any] = {
        "hidden": settings.hidden, "activation": settings.activation, "dropout": dropout,
        "numbers": blocks.numbers, "one_hot": blocks.one_hot, "codes": blocks.codes,
        "cardinalities": blocks.cardinalities,
    }  # fmt: skip
    if settings.network == "mlp":
        if blocks.codes:
            raise ConfigError(
                f"{use('one_hot_up_to')}: expected a network with embeddings for the codes of categories, "
                f"found {use('network', 'mlp')}; leave it out, or choose {use('network', 'realmlp')}"
            )
        model: nn.Layer = nn.MLP(
            settings.hidden, outputs, activation=settings.activation, weight_init=settings.weight_init,
            dropout=dropout, batch_norm=settings.batch_norm,
        )  # fmt: skip
        return model if settings.members == 1 else nn.Ensemble(model, settings.members)
    for name, usual in (("batch_norm", False), ("weight_init", "auto")):
        if getattr(settings, name) != usual:
            raise ConfigError(
                f"{use(name)}: expected none with {use('network', settings.network)}, which has its own; "
                f"leave it out, or choose {use('network', 'mlp')}"
            )
    if settings.network == "realmlp_simple" and settings.dropout:
        raise ConfigError(
            f"{use('dropout')}: expected 0 with {use('network', 'realmlp_simple')}, which has none, found "
            f"{settings.dropout}; leave it out, or choose {use('network', 'realmlp')}"
        )
    if settings.network == "tabm":
        return nn.TabM(outputs, members=settings.members, **shared)
    model = nn.RealMLP(outputs, simple=settings.network == "realmlp_simple", **shared)
    return model if settings.members == 1 else nn.Ensemble(model, settings.members)


def _factors(settings: Settings, network: nn.Layer, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the factors of learning rate and decay of RealMLP, for those parameters that there are."""
    if not settings.network.startswith("realmlp") or settings.optimizer in optim.METHODS:
        return {}
    names = known_names(Layout(tuple(network.parameter_shapes(shape).items())))
    rates = {name: x for name, x in REALMLP_RATES.items() if name in names}
    found: dict[str, Any] = {"learning_rate_factors": settings.learning_rate_factors or rates}
    if settings.optimizer == "adamw":  # others have no decay
        found["weight_decay_factors"] = settings.weight_decay_factors or {"biases": 0.0}
    return found


def build_trainer(prepared: Prepared[Any], backend: backends.Backend, seed: int | None = None) -> Trainer:
    """Return a trainer for the prepared table, before its first epoch.

    Args:
        prepared: the table and the settings.
        backend: where to compute.
        seed: of the trainer's draws, where it is not that of the settings.

    Raises:
        ConfigError: settings that contradict each other.
    """
    settings, loss, model = prepared.settings, prepared.loss, build_network(prepared)
    trainer = Trainer(
        model,
        loss,
        build_optimizer(settings, len(prepared.parts["train"])),
        backend=backend,
        **{
            **trainer_settings(prepared),
            **({} if seed is None else {"seed": seed}),
        },
    )
    trainer.state.run = prepared.manifest
    return trainer


def fit_trainer(trainer: Trainer, prepared: Prepared[Any], deadline: Deadline | None = None) -> None:
    """Train on the prepared table as its settings say; all faces do it by this.

    Args:
        trainer: to be trained.
        prepared: the table and the settings.
        deadline: end of the time, if that is not ``time_limit`` seconds from now.
    """
    settings, parts = prepared.settings, prepared.parts
    train, held_out = parts["train"], parts["validation"]
    trainer.fit(
        train.X,
        train.y,
        epochs=length_of(settings, len(train)).epochs,
        batch_size=batch_size_of(settings),
        validation=(held_out.X, held_out.y, held_out.weight) if len(held_out) else None,
        sample_weight=train.weight,
        class_weight=prepared.class_weight,
        deadline=deadline,
    )


def batch_size_of(settings: Settings) -> int | None:
    """Return the batch size as `Trainer.fit` takes it."""
    return settings.batch_size if isinstance(settings.batch_size, int) else None


def trainer_settings(prepared: Prepared[Any]) -> dict[str, Any]:
    """Return the trainer's arguments from settings."""
    settings = prepared.settings
    length = length_of(settings, len(prepared.parts["train"]))
    shared = [field.name for field in dataclasses.fields(TrainerSettings) if field.metadata["flag"]]
    return {
        **{name: getattr(settings, name) for name in shared},
        **{name: getattr(length, name) for name in _ENDS},
        **_factors(settings, build_network(prepared), (prepared.encoder.n_features,)),
        "metrics": metrics_of(settings),
        "restore_best": False,  # the best weights have a checkpoint of their own
        "progress": False,
    }


def layer_widths(prepared: Prepared[Any]) -> str:
    """Return the widths of the layers in the usual short form, such as ``64-128-10``.

    Of other networks than an MLP, or of several members, with these: ``8 × RealMLP 64-256-256-256-10``.
    """
    settings, encoder = prepared.settings, prepared.encoder
    outputs = outputs_for(prepared.loss, encoder.n_classes, len(encoder.targets))
    members = "" if settings.members == 1 else f"{settings.members} × "
    name = "" if settings.network == "mlp" else f"{_NAMES[settings.network]} "
    return members + name + "-".join(map(str, (encoder.n_features, *settings.hidden, outputs)))
