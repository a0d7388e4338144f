"""Settings of a run: those of the model of a table, and what concerns its folder; as TOML."""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet import checks
from xpnet.errors import ConfigError, because, suggest
from xpnet.files import read_regular
from xpnet.tabular import settings as tabular
from xpnet.tabular import values
from xpnet.tabular.settings import SettingField, fields_of, setting
from xpnet.text import visible

__all__ = ["FIXED", "Settings", "read_toml", "setting_fields", "to_toml"]

_MOST_TOML = 2**20  # bytes


@dataclass(frozen=True)
class Settings(tabular.Settings):
    """Settings of a training in a run folder; those of the model of a table are inherited."""

    diagnostics: int | None = setting(
        None,
        checks.whole(0),
        "Run",
        "about how often gradients, activations and updates of each layer are measured and judged; 0 for "
        "never; not set: up to 50 times, but for no more than some 3 % of the time of the training",
    )
    restarts: int = setting(
        1,
        checks.count,
        "Run",
        "train so many times, each from other initial weights on the same rows, and keep the best",
        fixed="the run has had its restarts",
    )
    save_every: int | str | None = setting(
        None,
        values.interval(),
        "Run",
        "keep a numbered checkpoint every N epochs, or at the first epoch's end after a TIME such as 5m",
    )
    keep_last: int | None = setting(
        None, checks.count, "Run", "keep the newest N of the numbered checkpoints; not set: all"
    )
    tensorboard: bool = setting(
        False, checks.flag, "Run", "write the history for TensorBoard as well (needs the extra tensorboard)"
    )
    out: str | None = setting(
        None,
        values.text("DIR", "a folder"),
        "Run",
        "run folder to make; not set: runs/<name>-<date>-<time>",
        fixed="the run has its folder",
    )


@functools.cache
def setting_fields() -> Mapping[str, SettingField]:
    """Return the rows of `Settings` by attribute name.

    >>> setting_fields()["max_steps"].key, setting_fields()["restarts"].default
    ('max-steps', 1)
    """
    return fields_of(Settings)


FIXED = {name: field.fixed for name, field in setting_fields().items() if field.fixed}
"""Settings that cannot change while a run goes on, and why."""


def read_toml(path: Path, *, follow: bool = True) -> dict[str, Any]:
    """Return the settings in a TOML file by attribute, checked.

    Args:
        path: the file.
        follow: whether it may be a link.

    Raises:
        ConfigError: an unknown key, a value that cannot be meant, or a file that cannot be read.
    """
    fields = setting_fields()
    try:
        table = tomllib.loads(read_regular(path, _MOST_TOML, follow=follow).decode())
    except OSError as error:
        raise ConfigError(f"the configuration '{path}' cannot be read: {because(error)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"'{path}' is no TOML file: expected UTF-8 text, found {error.reason}") from None
    except (ValueError, RecursionError) as error:  # of the latter kind: tables in each other without end
        raise ConfigError(f"'{path}' is not valid TOML: {visible(str(error))}; correct it") from None
    if isinstance(table.get("train"), dict):
        table = {**{k: v for k, v in table.items() if k != "train"}, **table["train"]}
    rows = {key: field for field in fields.values() for key in field.keys}
    named: dict[str, str] = {}
    found: dict[str, Any] = {}
    for name, value in table.items():
        key = name.replace("_", "-")
        if key not in rows:
            raise ConfigError(
                f"'{path}': unknown key '{visible(name)}'{suggest(name, rows)}; if a newer xpnet wrote it: "
                "update this one"
            )
        field = rows[key]
        if field.attribute in found:
            raise ConfigError(
                f"'{path}': the key '{field.key}' is given twice, as '{named[field.attribute]}' and "
                f"'{name}'; keep one"
            )
        named[field.attribute] = name
        found[field.attribute] = field.check(f"'{path}', key '{name}'", value)
    return found


def to_toml(settings: Settings) -> str:
    """Return the settings as TOML, from which `resolve` makes equal ones; unset ones are comments."""
    lines: list[str] = []
    section = None
    for field in setting_fields().values():
        if field.section != section:
            section = field.section
            lines += ["", f"# {section}"] if lines else [f"# {section}"]
        value = getattr(settings, field.attribute)
        lines.append(f"# {field.key} is not set" if value is None else f"{field.key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(k)} = {_toml(v)}' for k, v in value.items())}}}"
    if isinstance(value, str):
        # JSON's strings are TOML's, but for the control characters that JSON leaves as they are
        letters = json.dumps(value, ensure_ascii=False)
        return "".join(c if visible(c) == c else f"\\U{ord(c):08x}" for c in letters)
    return repr(value)
