"""Flags as settings: the texts of a command line read, and checked as their tables say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpnet.errors import ConfigError
from xpnet.runs.pruning_settings import PruningSettings, pruning_fields
from xpnet.runs.settings import Settings, read_toml, setting_fields

__all__ = ["changed_settings", "resolve", "resolve_pruning"]


def resolve(flags: Mapping[str, Any], config: str | Path | None = None) -> Settings:
    """Return the settings that flags and a TOML file ask for; flags win.

    Args:
        flags: texts by attribute name (True or False for switches, lists where a flag may be repeated);
            None and an empty list mean that the flag was not given.
        config: path of a TOML file.

    Raises:
        ConfigError: an unknown key, a value that cannot be meant, or a file that cannot be read.

    >>> resolve({"epochs": "5", "hidden": "32,16"}).hidden
    (32, 16)
    """
    fields = setting_fields()
    given = read_toml(Path(config)) if config is not None else {}
    for attribute, text in _given(flags).items():
        where = "NAME|FILE" if attribute == "data" else f"--{fields[attribute].key}"
        given[attribute] = text if isinstance(text, bool) else fields[attribute].check.of_text(where, text)
    return Settings(**given, chosen=tuple(given))


def changed_settings(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that flags give new values; ``none`` takes back one that may be not set.

    Raises:
        ConfigError: a value that cannot be meant.

    >>> changed_settings({"l2": "0.001", "clip_norm": "none", "epochs": None})
    {'l2': 0.001, 'clip_norm': None}
    """
    fields = setting_fields()
    taken_back = {
        attribute: None
        for attribute, text in _given(flags).items()
        if fields[attribute].default is None and str(text).strip().lower() == "none"
    }
    given = {attribute: text for attribute, text in _given(flags).items() if attribute not in taken_back}
    read = resolve(given)
    return {name: taken_back.get(name, getattr(read, name)) for name in _given(flags)}


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {attribute: text for attribute, text in flags.items() if text is not None and text != []}


def resolve_pruning(flags: Mapping[str, Any], *, resume: bool, beside: Mapping[str, Any]) -> PruningSettings:
    """Return the settings that flags ask for.

    Args:
        flags: texts by attribute name, True or False for switches; None means not given.
        resume: whether an interrupted pruning goes on, of whose settings only the learning rate may change.
        beside: flags that are no settings, which do not go with ``resume`` either.

    Raises:
        ConfigError: a value that cannot be meant, no sparsity, or what does not go together.
    """
    fields = pruning_fields()
    given = {name: text for name, text in flags.items() if text is not None}
    if resume:
        for name, text in {**given, **beside}.items():
            if text is not None and name != "learning_rate":
                raise ConfigError(
                    f"--{name}: expected nothing but --learning-rate and --backend beside --resume, "
                    f"found '{text}'; an interrupted pruning goes on with its own settings: leave it out"
                )
    elif "sparsity" not in given:
        raise ConfigError("--sparsity: expected the share to remove, such as 0.9 or 90%, found none; give it")
    given = {
        name: text if isinstance(text, bool) else fields[name].check.of_text(f"--{fields[name].key}", text)
        for name, text in given.items()
    }
    return PruningSettings(**given)
