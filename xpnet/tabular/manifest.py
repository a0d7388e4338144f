"""Manifest of a trained model of a table: what the header of a checkpoint says of the files beside it.

The settings with which the weights were trained, and the SHA-256 of the encoder's file, of the table and of
the split of its rows (`Prepared.manifest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xpnet.errors import CheckpointError
from xpnet.schema import ANY, SHA256, Schema, check
from xpnet.tabular.settings import SettingField
from xpnet.text import visible

__all__ = ["MANIFEST", "check_manifest", "check_same", "setting_as_text"]

MANIFEST: dict[str, Schema] = {
    "settings": {...: ANY},
    "encoder": SHA256,
    "table": SHA256,
    "split": SHA256,
    "pruning?": SHA256,
    "restarts?": SHA256,
}


def check_manifest(file: Path, manifest: Any, fields: Mapping[str, SettingField]) -> None:
    """Raise a `CheckpointError` if a manifest is damaged.

    Args:
        file: the checkpoint.
        manifest: what its header says.
        fields: the settings that it may have.
    """
    known = {
        f"{name}?": (None, field.check) if field.default is None else field.check
        for name, field in fields.items()
    }
    try:
        check(manifest, {**MANIFEST, "settings": known}, "run")
    except ValueError as error:
        raise CheckpointError(f"checkpoint {file}: is damaged ({error}); take another") from error


def check_same(path: Path, file: Path, what: str, expected: Any, found: Any) -> None:
    """Raise a `CheckpointError` if something in a file is not what the checkpoint ``file`` names."""
    if expected != found:
        raise CheckpointError(
            f"'{path}' is not what '{file.name}' was trained with: expected {what} "
            f"{setting_as_text(expected)}, found {setting_as_text(found)}; it was changed or damaged, "
            "or is another run's: restore it, or train anew"
        )


def setting_as_text(value: Any) -> str:
    """Return a value in words."""
    return visible("not set" if value is None else str(value))
