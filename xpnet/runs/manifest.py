"""Manifest of a run: what prediction, evaluation and resumption rely on, bound to the weights.

The header of each checkpoint holds the settings with which its weights were trained, and the SHA-256 of the
encoder's file, of the table and of the split of its rows (`Prepared.manifest`); the header and the arrays
have checksums of their own. Encoder and settings are written before the first checkpoint, so that whenever
the process is killed, what a checkpoint names is there. Each command that uses a run reads it by `read_run`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.data import Encoder
from xpnet.errors import CheckpointError, DataError, because
from xpnet.runs.folder import RunFolder
from xpnet.runs.formats import MANIFEST
from xpnet.runs.settings import FIXED, Settings, setting_fields
from xpnet.schema import check
from xpnet.streams import message
from xpnet.tabular.dataset import Prepared, fingerprint, prepare
from xpnet.tabular.losses import is_code, loss_of_run
from xpnet.tabular.settings import plain
from xpnet.text import visible
from xpnet.train.checkpoint_file import read_description

__all__ = ["Run", "check_pruning", "check_restarts", "check_unchanged", "read_run"]


@dataclass(frozen=True)
class Run:
    """Files of a run that belong to each other.

    Attributes:
        folder: where they are.
        settings: those of ``config.toml``.
        trained: the same without what was edited by hand since the checkpoint.
        encoder: that of ``encoder.json``.
        encoder_sha256: of that file.
        environment: what ``environment.json`` holds.
        manifest: that of the checkpoint; None of an older run, or before the first checkpoint.
    """

    folder: RunFolder
    settings: Settings
    trained: Settings
    encoder: Encoder
    encoder_sha256: str
    environment: Mapping[str, Any]
    manifest: Mapping[str, Any] | None

    def prepare(self, settings: Settings | None = None, loss: str | None = None) -> Prepared[Settings]:
        """Read the run's table, split it as in training, and encode it.

        Args:
            settings: others than those of the run.
            loss: the place of the run's loss, where it is code of the user's own.

        Raises:
            DataError: the table has changed, or its rows are split otherwise.
            ConfigError: as `prepare` of a new table.
        """
        settings = self.settings if settings is None else settings
        check_unchanged(self.environment, settings)
        own = loss_of_run(settings, loss)
        made = prepare(settings, self.encoder, own, encoder_sha256=self.encoder_sha256)
        if self.manifest is not None and made.manifest["split"] != self.manifest["split"]:
            raise DataError(
                f"the rows of '{settings.data}' are split otherwise into training, validation and test rows "
                "than in the training, by another version of xpnet or of its packages: test rows would be "
                "training rows; go on where the run was trained, or train anew"
            )
        return made


def read_run(folder: RunFolder, file: Path | None, *, changing: tuple[str, ...] = ()) -> Run:
    """Return the files of a run that a command relies on, checked against the manifest of a checkpoint.

    Args:
        folder: the run.
        file: the checkpoint; None before there is one.
        changing: settings that may be others than at the checkpoint, as those of a pruning under way.

    Raises:
        CheckpointError: a file is missing, damaged, of a newer version, or another than the checkpoint names.
    """
    settings, environment = folder.read_settings(), folder.read_environment()
    content = folder.read(folder.encoder)
    encoder = folder.read_encoder(content)
    digest = hashlib.sha256(content).hexdigest()
    trained, manifest = settings, None
    if file is not None:
        manifest = read_description(file).get("run")
        if manifest is None:
            message(
                f"the run '{folder.path}' was written by an older xpnet: whether its files belong to each "
                "other cannot be checked; what trains it further writes what is needed"
            )
        else:
            _check_manifest(file, manifest)
            _check_same(folder.encoder, file, "SHA-256", manifest["encoder"], digest)
            table = environment["data"]["sha256"]
            _check_same(folder.environment, file, "data.sha256", manifest["table"], table)
            trained = _check_settings(folder, file, manifest["settings"], settings, environment, changing)
    return Run(folder, settings, trained, encoder, digest, environment, manifest)


def check_unchanged(environment: Mapping[str, Any], settings: Settings) -> None:
    """Raise a `DataError` if the table of a run is gone or is another than that of ``environment.json``."""
    data = settings.data or ""
    try:
        found = fingerprint(data)
    except OSError as error:
        raise DataError(
            f"the run's table '{data}' cannot be read: {because(error)}; put it back where it was"
        ) from error
    if found != environment["data"]["sha256"]:
        raise DataError(
            f"the run's table '{data}' has changed since the training began (its SHA-256 is another), "
            "and with it the split into training and test rows; restore it, or train anew"
        )


def check_pruning(run: Run, file: Path) -> None:
    """Raise a `CheckpointError` if ``pruning.json`` is not that of the checkpoint of its round."""
    if run.manifest is not None:
        path = run.folder.pruning
        found = hashlib.sha256(run.folder.read(path)).hexdigest()
        _check_same(path, file, "SHA-256", run.manifest.get("pruning"), found)


def check_restarts(run: Run, file: Path | None) -> None:
    """Raise a `CheckpointError` if ``restarts.csv`` is not what it was when the restart under way began."""
    number = len(run.folder.read_restarts()) + 1
    if run.manifest is not None and file == run.folder.restart(number).checkpoint("last"):
        found = run.folder.restarts_sha256()
        _check_same(run.folder.restarts, file, "SHA-256", run.manifest.get("restarts"), found)


def _check_manifest(file: Path, manifest: Any) -> None:
    fields = setting_fields()
    known = {
        f"{name}?": (None, field.check) if field.default is None else field.check
        for name, field in fields.items()
    }
    try:
        check(manifest, {**MANIFEST, "settings": known}, "run")
    except ValueError as error:
        raise CheckpointError(f"checkpoint {file}: is damaged ({error}); take another") from error


def _check_settings(
    folder: RunFolder,
    file: Path,
    stored: Mapping[str, Any],
    settings: Settings,
    environment: Mapping[str, Any],
    changing: tuple[str, ...],
) -> Settings:
    """Compare settings with those of the manifest: refuse what cannot change, tell what was edited by hand.

    Returns:
        The settings without what was edited by hand.
    """
    fields, edited = setting_fields(), dict[str, Any]()
    recorded = [(change["setting"], change["after"]) for change in environment.get("changes", ())]
    for name, found in plain(settings).items():
        if name not in stored or stored[name] == found or name in (*changing, "out"):
            continue
        field, before = fields[name], stored[name]
        is_place = name == "data" or (name == "loss" and is_code(before) and is_code(found))  # may have moved
        if name in FIXED and not is_place:
            _check_same(folder.config, file, field.key, before, found)
        if not any(key in field.keys and after == found for key, after in recorded):
            edited[name] = None if before is None else field.check(name, before)
            message(
                f"'{folder.config}' was edited: {field.key} is {_text(found)}, and was {_text(before)} when "
                f"'{file.name}' was written; the new value counts"
            )
    return dataclasses.replace(settings, **edited)


def _text(value: Any) -> str:
    return visible("not set" if value is None else str(value))


def _check_same(path: Path, file: Path, what: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise CheckpointError(
            f"'{path}' is not what '{file.name}' was trained with: expected {what} {_text(expected)}, found "
            f"{_text(found)}; it was changed or damaged, or is another run's: restore it, or train anew"
        )
