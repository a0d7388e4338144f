"""Trainer of a run: that of a checkpoint, and the diagnostics of its training."""

from __future__ import annotations

from typing import Any

from xpnet import backends, nn
from xpnet.errors import CheckpointError, ConfigError, Word, call, use
from xpnet.runs.folder import RunFolder
from xpnet.runs.settings import FIXED, Settings
from xpnet.tabular.dataset import Prepared
from xpnet.tabular.defaults import length_of, steps_of_epoch
from xpnet.tabular.trainer import build_optimizer, dropout_of, trainer_settings
from xpnet.train import Diagnostics, Trainer
from xpnet.train.diagnostics.callback import affordable

__all__ = ["build_diagnostics", "load_trainer"]

_MOST_POINTS = 50
_SAMPLE = 128  # rows: half of what Diagnostics takes by itself, as runs of the command line are often short


def build_diagnostics(prepared: Prepared[Settings], parameters: int) -> Diagnostics | None:
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


def load_trainer(
    run: RunFolder,
    prepared: Prepared[Settings],
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
            run.find_checkpoint(start or "last"),
            backend,
            loss=prepared.loss,
            optimizer=optimizer,
            encoded=True,
            **options,
        )
    except CheckpointError as error:
        if start is None and run.checkpoint("best").is_file():
            other = call("predict", run.path, Word("FILE"), checkpoint="best")
            raise CheckpointError(
                f"{error.text}. The best weights may still serve: {other}; training cannot continue from them"
            ) from error
        raise
    trainer.model = with_dropout(trainer.model, dropout_of(settings, len(prepared.parts["train"])))
    trainer.state.run = prepared.manifest
    return trainer


def with_dropout(model: nn.Layer, rate: Any) -> nn.Layer:
    """Return the model with another rate, or schedule of it, in its Dropout layers.

    Raises:
        ConfigError: a rate above 0 for a model that was made without such layers.
    """
    if isinstance(model, nn.Ensemble):
        return nn.Ensemble(with_dropout(model.layer, rate), model.members)
    layers = model.layers if isinstance(model, nn.Sequential) else ()
    if any(isinstance(layer, nn.Dropout) for layer in layers):
        return nn.Sequential(
            [nn.Dropout(rate) if isinstance(layer, nn.Dropout) else layer for layer in layers]
        )
    if rate:
        raise ConfigError(
            f"{use('dropout')}: expected 0, as the model has no Dropout layers, found {rate}; train anew "
            "with it"
        )
    return model
