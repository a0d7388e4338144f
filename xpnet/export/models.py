"""Models that can be exported: a trainer, the encoder and the trainer of a table, or an estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from xpnet.data import Encoder
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.train import Trainer
from xpnet.train.targets import is_classifier, kind_of

__all__ = ["Exported", "exported"]


@runtime_checkable
class _OfTable(Protocol):
    """A model of a table: what predicts by an encoder and a trainer."""

    encoder: Encoder
    trainer: Trainer


@runtime_checkable
class _OfArrays(Protocol):
    """An estimator of arrays for scikit-learn: a trainer, and ``classes_`` if it classifies."""

    trainer_: Trainer


@dataclass(frozen=True)
class Exported:
    """A trained model with its arrays on the host.

    Attributes:
        trainer: the network, its loss and its settings.
        encoder: how tables become arrays; None: inputs are arrays.
        variables: parameters and state as NumPy arrays.
        width: features of a row.
        dtype: of the parameters.
        labels: for each target its classes, by the numbers that the network predicts; none of a trainer,
            whose labels are these numbers, and for numbers.
    """

    trainer: Trainer
    encoder: Encoder | None
    variables: Variables
    width: int
    dtype: str
    labels: tuple[tuple[Any, ...], ...] = ()

    @property
    def classes(self) -> bool:
        """Whether classes are predicted."""
        return is_classifier(self.trainer.loss) if self.encoder is None else bool(self.encoder.n_classes)


def exported(model: Any) -> Exported:
    """Return what there is to export of a model.

    Args:
        model: an `xpnet.Trainer`, an `xpnet.tabular.TableModel`, or what has one as ``model`` or ``model_``,
            such as an `xpnet.runs.Run` or a fitted estimator of tables; or a fitted estimator of arrays.

    Raises:
        ConfigError: it is something else, or has not been trained.
    """
    if isinstance(model, Trainer):
        return _of(model, None)
    own = getattr(model, "classes_", None)
    if isinstance(model, _OfArrays):
        trainer = getattr(model, "trainer_", None)  # which says that it is none before fit
        if trainer is not None:
            return _of(trainer, None, () if own is None else _labels_of(trainer, own))
    table = model
    if not hasattr(model, "trainer"):  # of a run, or of an estimator for scikit-learn
        table = getattr(model, "model", getattr(model, "model_", None))
    if isinstance(table, _OfTable) and isinstance(table.trainer, Trainer):
        labels = table.encoder.target_classes if table.encoder.n_classes else ()
        if own is not None:  # the table has their numbers
            labels = (tuple(_plain(own)[number] for number in labels[0]),)
        return _of(table.trainer, table.encoder, labels)
    if hasattr(model, "fit"):
        remedy = "export its last step" if hasattr(model, "steps") else "call fit, or load one"  # a pipeline
        raise ConfigError(
            f"export: expected a model of xpnet that has been trained, found {model!r}; {remedy}"
        )
    raise ConfigError(
        f"export: expected a Trainer, a TableModel, a Run or an estimator of xpnet, found "
        f"{type(model).__name__}; open a run folder with xpnet.runs.open"
    )


def _labels_of(trainer: Trainer, classes: np.ndarray) -> tuple[tuple[Any, ...], ...]:
    """Return the classes of an estimator of arrays; several labels of a row are 0 and 1 each."""
    assert trainer.input_shape is not None
    (outputs,) = trainer.model.output_shape(trainer.input_shape)
    if kind_of(trainer.loss) != "classes" and outputs > 1:
        return ((0, 1),) * outputs
    known = _plain(classes)
    return ((*known, *known[-1:]) if len(known) == 1 else known,)  # of one class alone, any number is it


def _plain(classes: np.ndarray) -> tuple[Any, ...]:
    """Return classes as Python's own bool, int, float or str."""
    return tuple(x.item() if isinstance(x, np.generic) else x for x in classes)


def _of(trainer: Trainer, encoder: Encoder | None, labels: tuple[tuple[Any, ...], ...] = ()) -> Exported:
    variables, shape = trainer.variables, trainer.input_shape
    if variables is None or shape is None:
        raise ConfigError(
            "export: expected a trainer that has been trained, found one without variables; call fit first"
        )
    host = trainer.backend.to_host
    params = Parameters(host(variables.params.flat), variables.params.layout)
    known = Variables(params, _on_host(host, variables.state))
    return Exported(trainer, encoder, known, shape[0], trainer.setup.dtype, labels)


def _on_host(host: Any, state: Any) -> Any:
    return {k: _on_host(host, v) for k, v in state.items()} if isinstance(state, dict) else host(state)
