"""Models that can be exported: a trainer, or the encoder and the trainer of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from xpnet.data import Encoder
from xpnet.errors import ConfigError
from xpnet.nn import Variables
from xpnet.parameters import Parameters
from xpnet.train import Trainer
from xpnet.train.targets import is_classifier

__all__ = ["Exported", "exported"]


@runtime_checkable
class _OfTable(Protocol):
    """A model of a table: what predicts by an encoder and a trainer."""

    encoder: Encoder
    trainer: Trainer


@dataclass(frozen=True)
class Exported:
    """A trained model with its arrays on the host.

    Attributes:
        trainer: the network, its loss and its settings.
        encoder: how tables become arrays; None: inputs are arrays.
        variables: parameters and state as NumPy arrays.
        width: features of a row.
        dtype: of the parameters.
    """

    trainer: Trainer
    encoder: Encoder | None
    variables: Variables
    width: int
    dtype: str

    @property
    def classes(self) -> bool:
        """Whether classes are predicted."""
        return is_classifier(self.trainer.loss) if self.encoder is None else bool(self.encoder.n_classes)


def exported(model: Any) -> Exported:
    """Return what there is to export of a model.

    Args:
        model: an `xpnet.Trainer`, an `xpnet.tabular.TableModel`, or what has one as ``model`` or ``model_``,
            such as an `xpnet.runs.Run` or a fitted estimator of tables.

    Raises:
        ConfigError: it is something else, or has not been trained.
    """
    if isinstance(model, Trainer):
        return _of(model, None)
    table = model
    if not hasattr(model, "trainer"):  # of a run, or of an estimator for scikit-learn
        table = getattr(model, "model", getattr(model, "model_", None))
    if isinstance(table, _OfTable) and isinstance(table.trainer, Trainer):
        return _of(table.trainer, table.encoder)
    if hasattr(model, "fit"):
        raise ConfigError(
            f"export: expected a model that has been trained, found {model!r}; call fit, or load one"
        )
    raise ConfigError(
        f"export: expected a Trainer, a TableModel or a Run, found {type(model).__name__}; open a run folder "
        "with xpnet.runs.open"
    )


def _of(trainer: Trainer, encoder: Encoder | None) -> Exported:
    variables, shape = trainer.variables, trainer.input_shape
    if variables is None or shape is None:
        raise ConfigError(
            "export: expected a trainer that has been trained, found one without variables; call fit first"
        )
    host = trainer.backend.to_host
    params = Parameters(host(variables.params.flat), variables.params.layout)
    return Exported(
        trainer, encoder, Variables(params, _on_host(host, variables.state)), shape[0], trainer.setup.dtype
    )


def _on_host(host: Any, state: Any) -> Any:
    return {k: _on_host(host, v) for k, v in state.items()} if isinstance(state, dict) else host(state)
