"""Settings of a pruning: the table from which the flags of ``xpnet prune`` follow."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.checks import Check
from xpnet.errors import CheckpointError
from xpnet.schema import ANY, check
from xpnet.tabular import values
from xpnet.tabular.settings import SettingField, fields_of, renamed, setting

__all__ = ["PruningSettings", "pruning_fields", "read_pruning"]


def _setting(default: Any, check: Check, help: str, *, also: str = "") -> Any:
    return setting(default, check, "Pruning", help, also=also)


@dataclass(frozen=True)
class PruningSettings:
    """Settings of a pruning; see :func:`xpnet.prune.prune`."""

    sparsity: float | None = _setting(
        None,
        values.number_or_percentage(checks.fraction, "0.9 or 90%"),
        "share of the weights, or of the hidden units, to remove: 0.9 or 90%",
    )
    scope: str = _setting(
        "normalized",
        checks.one_of("normalized", "global", "layer", "unit"),
        "rank all weights by their share of their matrix, or by their size alone (global); prune each matrix "
        "alike (layer); or remove whole hidden units (unit)",
    )
    rounds: int = _setting(10, checks.count, "rounds of pruning and retraining")
    epochs: int | None = _setting(
        None, checks.count, "epochs of retraining in a round; not set: 20, or as many as are 400 steps"
    )
    schedule: str = _setting(
        "cubic",
        checks.one_of("cubic", "geometric", "linear"),
        "how sparsity rises from round to round",
    )
    decay: bool = _setting(
        False, checks.flag, "let weights decay to 0 over a round's epochs, rather than make them 0 at once"
    )
    tolerance: float | str | None = _setting(
        "auto",
        values.or_words(
            values.number_or_percentage(checks.not_negative, "0.01 or 1%"), auto="auto", none=None
        ),
        "a round is taken back, and the last, if validation accuracy or R² falls by more; auto: the "
        "share of one row, from 0.02 to 0.1; none: any fall is tolerated",
    )
    learning_rate: float | None = _setting(
        None,
        checks.positive,
        "learning rate of the retraining; not set: the run's own",
        also="lr",
    )


@functools.cache
def pruning_fields() -> Mapping[str, SettingField]:
    """Return the rows of the table by attribute name."""
    return fields_of(PruningSettings)


def read_pruning(path: Path, stored: Mapping[str, Any]) -> PruningSettings:
    """Return the settings that ``pruning.json`` holds.

    Raises:
        CheckpointError: they are none.
    """
    fields = pruning_fields()
    given = renamed(stored, fields)
    try:
        check(given, {f"{name}?": ANY for name in fields})
        checked: dict[str, Any] = {
            name: value if value is None and fields[name].default is None else fields[name].check(name, value)
            for name, value in given.items()
        }
    except ValueError as error:
        raise CheckpointError(f"'{path}' is damaged ({error}); prune anew") from error
    return PruningSettings(**checked)
