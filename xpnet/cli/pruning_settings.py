"""The settings of a pruning: the table from which the flags of ``xpnet prune`` follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xpnet.cli import kinds
from xpnet.cli.kinds import Kind
from xpnet.cli.settings import SettingField
from xpnet.errors import ConfigError

__all__ = ["PruningSettings", "pruning_fields", "resolve_pruning"]


def _setting(default: Any, kind: Kind, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind, "section": "Pruning", "help": help})


@dataclass(frozen=True)
class PruningSettings:
    """What is removed of a network, and how; see :func:`xpnet.prune.prune`."""

    sparsity: float | None = _setting(
        None,
        kinds.share("a share of at least 0 and below 1, such as 0.9 or 90%", lambda x: 0 <= x < 1),
        "share of the weights, or of the hidden units, to remove: 0.9 or 90%",
    )
    scope: str = _setting(
        "global",
        kinds.one_of("global", "layer", "unit"),
        "rank all weights together, prune each matrix by the same share, or remove whole hidden units",
    )
    rounds: int = _setting(10, kinds.whole(1), "rounds of pruning and retraining")
    epochs: int = _setting(20, kinds.whole(1), "epochs of retraining in a round")
    schedule: str = _setting(
        "cubic",
        kinds.one_of("cubic", "geometric", "linear"),
        "how sparsity rises from round to round",
    )
    decay: bool = _setting(
        False, kinds.flag(), "let weights decay to 0 over a round's epochs, rather than make them 0 at once"
    )
    tolerance: float | None = _setting(
        None,
        kinds.share("a number of at least 0, such as 0.01 or 1%", lambda x: x >= 0),
        "end when the validation accuracy, or R², has fallen by more than this; not set: never",
    )
    lr: float | None = _setting(
        None,
        kinds.number("a finite number above 0", lambda x: x > 0),
        "learning rate of the retraining; not set: the run's own",
    )


def pruning_fields() -> dict[str, SettingField]:
    """Return the rows of the table by attribute name."""
    return {
        field.name: SettingField(field.name, field.default, **field.metadata)
        for field in dataclasses.fields(PruningSettings)
    }


def resolve_pruning(flags: Mapping[str, Any], *, resume: bool, beside: Mapping[str, Any]) -> PruningSettings:
    """Return the settings that flags ask for.

    Args:
        flags: texts by attribute name, True or False for switches; None means not given.
        resume: whether an interrupted pruning goes on, which has its settings already, but for ``lr``.
        beside: flags that are no settings, which do not go with ``resume`` either.

    Raises:
        ConfigError: a value that cannot be meant, no sparsity, or what does not go together.
    """
    fields = pruning_fields()
    given = {name: text for name, text in flags.items() if text is not None}
    if resume:
        for name, text in {**given, **beside}.items():
            if text is not None and name != "lr":
                raise ConfigError(
                    f"--{name}: expected nothing but --lr and --device beside --resume, found '{text}'; an "
                    "interrupted pruning goes on with its own settings: leave it out"
                )
    elif "sparsity" not in given:
        raise ConfigError("--sparsity: expected the share to remove, such as 0.9 or 90%, found none; give it")
    values: dict[str, Any] = {
        name: text if isinstance(text, bool) else fields[name].check_text(text, f"--{name}")
        for name, text in given.items()
    }
    return PruningSettings(**values)
