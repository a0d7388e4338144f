"""Manifest of a run: what prediction, evaluation and resumption rely on, bound to the weights.

The header of each checkpoint holds the settings with which its weights were trained, and the SHA-256 of the
encoder's file, of the table and of the split of its rows (`Prepared.manifest`); the header and the arrays
have checksums of their own. Encoder and settings are written before the first checkpoint, so that whenever
the process is killed, what a checkpoint names is there. Each command that uses a run reads it by `read_run`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.data import Encoder
from xpnet.data.sources import STDIN
from xpnet.errors import DataError, because
from xpnet.runs.folder import RunFolder
from xpnet.runs.settings import FIXED, Settings, setting_fields
from xpnet.tabular.dataset import Prepared, fingerprint, prepare
from xpnet.tabular.frames import MEMORY, fingerprint_of_frame
from xpnet.tabular.losses import is_code, loss_of_run
from xpnet.tabular.manifest import check_manifest, check_same, setting_as_text
from xpnet.tabular.settings import plain
from xpnet.train.checkpoint_file import read_description

if TYPE_CHECKING:
    import polars

_log = logging.getLogger("xpnet.runs")

__all__ = ["RunRecord", "check_pruning", "check_restarts", "check_unchanged", "read_run"]


@dataclass(frozen=True)
class RunRecord:
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

    def prepare(
        self,
        settings: Settings | None = None,
        loss: str | Callable[..., Any] | None = None,
        frame: polars.DataFrame | None = None,
    ) -> Prepared[Settings]:
        """Read the run's table, split it as in training, and encode it.

        Args:
            settings: others than those of the run.
            loss: the run's loss or its place, where it is code of the user's own.
            frame: the table, where it was no file.

        Raises:
            DataError: the table has changed, or its rows are split otherwise.
            ConfigError: as `prepare` of a new table.
        """
        settings = self.settings if settings is None else settings
        check_unchanged(self.environment, settings, frame)
        own = loss_of_run(settings, loss)
        known = None if settings.data != MEMORY else frame
        made = prepare(settings, self.encoder, own, encoder_sha256=self.encoder_sha256, frame=known)
        if self.manifest is not None and made.manifest["split"] != self.manifest["split"]:
            raise DataError(
                f"the rows of '{settings.data}' are split otherwise into training, validation and test rows "
                "than in the training, by another version of xpnet or of its packages: test rows would be "
                "training rows; go on where the run was trained, or train anew"
            )
        return made


def read_run(folder: RunFolder, file: Path | None, *, changing: tuple[str, ...] = ()) -> RunRecord:
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
            _log.warning(
                "the run '%s' was written by an older xpnet: whether its files belong to each other cannot "
                "be checked; what trains it further writes what is needed",
                folder.path,
            )
        else:
            check_manifest(file, manifest, setting_fields())
            check_same(folder.encoder, file, "SHA-256", manifest["encoder"], digest)
            table = environment["data"]["sha256"]
            check_same(folder.environment, file, "data.sha256", manifest["table"], table)
            trained = _check_settings(folder, file, manifest["settings"], settings, environment, changing)
    return RunRecord(folder, settings, trained, encoder, digest, environment, manifest)


def check_unchanged(
    environment: Mapping[str, Any], settings: Settings, frame: polars.DataFrame | None = None
) -> None:
    """Raise a `DataError` if the table of a run is gone or is another than that of ``environment.json``."""
    data = settings.data or ""
    if data == MEMORY:
        if frame is None:
            raise DataError(
                "the run's table was in memory and no file; pass it again in Python: "
                "xpnet.runs.open(folder, table=table), or run.resume(table=table)"
            )
        found = fingerprint_of_frame(frame)
    elif data == STDIN:
        raise DataError(
            "the run's table was read from the standard input, which is gone; train on a file to resume, or "
            "to evaluate on the run's own test rows"
        )
    else:
        try:
            found = fingerprint(data)
        except OSError as error:
            raise DataError(
                f"the run's table '{data}' cannot be read: {because(error)}; put it back where it was, or "
                "write where it is now as 'data' into the run's config.toml"
            ) from error
    if found != environment["data"]["sha256"]:
        raise DataError(
            f"the run's table '{data}' has changed since the training began (its SHA-256 is another), "
            "and with it the split into training and test rows; restore it, or train anew"
        )


def check_pruning(run: RunRecord, file: Path) -> None:
    """Raise a `CheckpointError` if ``pruning.json`` is not that of the checkpoint of its round."""
    if run.manifest is not None:
        path = run.folder.pruning
        found = hashlib.sha256(run.folder.read(path)).hexdigest()
        check_same(path, file, "SHA-256", run.manifest.get("pruning"), found)


def check_restarts(run: RunRecord, file: Path | None) -> None:
    """Raise a `CheckpointError` if ``restarts.csv`` is not what it was when the restart under way began."""
    number = len(run.folder.read_restarts()) + 1
    if run.manifest is not None and file == run.folder.restart(number).checkpoint("last"):
        found = run.folder.restarts_sha256()
        check_same(run.folder.restarts, file, "SHA-256", run.manifest.get("restarts"), found)


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
            check_same(folder.config, file, field.key, before, found)
        if not any(key in field.keys and after == found for key, after in recorded):
            edited[name] = None if before is None else field.check(name, before)
            _log.warning(
                "'%s' was edited: %s is %s, and was %s when '%s' was written; the new value counts",
                *(folder.config, field.key, setting_as_text(found), setting_as_text(before), file.name),
            )
    return dataclasses.replace(settings, **edited)
