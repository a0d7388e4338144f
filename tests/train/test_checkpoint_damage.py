"""Files that are damaged, foreign or of a newer version, and disks that are full."""

from __future__ import annotations

import builtins
import errno
import json
import os
import pickle
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as as_safetensors

from tests.train.support import assert_same_training, class_data, make
from xpnet import Trainer, nn
from xpnet.errors import CheckpointError, ConfigError
from xpnet.train import checkpoint_file

X, Y = class_data(12)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a checkpoint's bytes."""
    trainer = make(model=nn.MLP([2], 3, batch_norm=True))
    trainer.fit(X, Y, epochs=2, validation=(X, Y))
    path = tmp_path_factory.mktemp("good") / "c.safetensors"
    trainer.save(path)
    return path.read_bytes()


def refused(path, content, match=None):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=match) as caught:
        Trainer.load(path, "numpy")
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_any_flipped_byte_is_noticed(written, tmp_path):
    path = tmp_path / "c.safetensors"
    header = 8 + int.from_bytes(written[:8], "little")
    padding = len(written[:header]) - len(written[:header].rstrip(b" "))
    random = np.random.default_rng(0)
    places = {*range(12), *range(8, header - padding, 7), *range(header, len(written), 5), len(written) - 1}
    for place in sorted(places):
        changed = bytearray(written)
        changed[place] ^= int(random.integers(1, 256))
        refused(path, bytes(changed))


def test_cut_off_anywhere(written, tmp_path):
    path = tmp_path / "c.safetensors"
    for size in [0, 1, 7, 8, 9, 100, *range(200, len(written), 97), len(written) - 1]:
        refused(path, written[:size])
    refused(path, written + b"more")


@pytest.mark.parametrize(
    "content",
    [b"\0" * 64, b"{}", b"PK\x03\x04" + b"\0" * 100, b"\xff" * 100, b"name,value\n1,2\n",
     (2**63).to_bytes(8, "little") + b"{}", (5).to_bytes(8, "little") + b"[[[[[", pickle.dumps({"a": 1})],
)  # fmt: skip
def test_other_files(content, tmp_path):
    refused(tmp_path / "c.safetensors", content, "is damaged")


def with_description(text, arrays=None, crc=None):
    metadata = {"xpnet": text, "crc32": str(zlib.crc32(text.encode()) if crc is None else crc)}
    return as_safetensors(arrays or {"a": np.zeros(2)}, metadata=metadata)


def test_foreign_tensors(tmp_path):
    path = tmp_path / "c.safetensors"
    refused(path, as_safetensors({"a": np.zeros(3)}), "found another's tensors")
    refused(path, as_safetensors({"a": np.zeros(3)}, metadata={"format": "pt"}), "found another's tensors")


@pytest.mark.parametrize(
    "text", ["", "{", "nonsense", "[" * 100_000, "\x00", "NaN", "[]", "{}", '{"format": "1"}']
)
def test_descriptions_that_are_none(text, tmp_path):
    refused(tmp_path / "c.safetensors", with_description(text), "is damaged")


def test_a_newer_format(tmp_path):
    text = json.dumps({"format": checkpoint_file.FORMAT + 1, "anything": "else"})
    message = refused(
        tmp_path / "c.safetensors", with_description(text), "expected format 1 or older, found format 2"
    )
    assert "update this one" in message
    refused(tmp_path / "c.safetensors", with_description(text, crc=0), "written by a newer xpnet")


@pytest.mark.parametrize(
    ("entry", "value"),
    [("model", 7), ("model", {"layer": "Sequential"}), ("model", {"layer": "Nowhere"}), ("model", None),
     ("loss", "x"), ("loss", ["x"]), ("optimizer", {"name": "adamm"}), ("optimizer", 3), ("settings", 3),
     ("settings", None),
     ("layout", 5), ("layout", [["a"]]), ("layout", []), ("input_shape", None), ("history", 3),
     ("epoch", ...),
     ("best", ...), ("best", {"epoch": 1}), ("best", 3), ("optimizer_counters", 4), ("metrics", ...)],
    ids=str,
)  # fmt: skip
def test_descriptions_made_by_others(entry, value, written, tmp_path):
    """With a right checksum: nothing but a CheckpointError may come of what another program wrote."""
    path = tmp_path / "c.safetensors"
    path.write_bytes(written)
    arrays, description = checkpoint_file.read(path)
    sums = {name: checkpoint_file._checksum(array) for name, array in arrays.items()}
    if value is ...:
        del description[entry]
    else:
        description[entry] = value
    refused(path, with_description(json.dumps({"checksums": sums, **description}), arrays))


def forged(path, **changes):
    """Write a description of other entries with the right checksums around the arrays of a checkpoint."""
    arrays, description = checkpoint_file.read(path)
    sums = {name: checkpoint_file._checksum(array) for name, array in arrays.items()}
    path.write_bytes(with_description(json.dumps({"checksums": sums, **description, **changes}), arrays))


@pytest.mark.parametrize(
    ("layers", "input_shape"),
    [([30_000, 30_000], [4]), ([10**9, 10**9, 3], [4]), ([3], [10**12]), ([10**30], [4])],
)
def test_layers_that_are_not_there_take_no_memory(layers, input_shape, written, tmp_path):
    """A file of 2 kB once took 14 GB: layers were drawn to find out what their shapes are."""
    path = tmp_path / "c.safetensors"
    path.write_bytes(written)
    dense = [{"layer": "Dense", "units": units} for units in layers]
    normed = [layer for one in dense for layer in (one, {"layer": "BatchNorm"})]
    forged(path, model={"layer": "Sequential", "layers": normed}, input_shape=input_shape)
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"expected .* of shape .* for the model"):
        Trainer.load(path, "numpy")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        (
            "settings",
            {"surprise": 1},
            "settings.surprise is unknown .*if a newer xpnet wrote it",
        ),
        ("surprise", 1, "surprise is unknown to this version"),
        ("history", [1], r"history\[0\]: expected an object, found 1"),
        ("epoch", 10**350, "epoch: expected a whole number"),
        ("best", {"epoch": 1, "loss": "x"}, "best.loss: expected a number|best: expected null"),
        ("columns", ["\ud800"], "text of Unicode"),
        ("model", {"layer": "Sequential", "layers": json.loads("[" * 200 + "]" * 200)}, "in each other"),
    ],
)
def test_a_description_is_what_its_table_says(entry, value, message, written, tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(written)
    forged(path, **{entry: value})
    refused(path, path.read_bytes(), message)


def test_older_checksums(written, tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(written)
    arrays, description = checkpoint_file.read(path)
    sums = {
        name: zlib.crc32(a.tobytes(), zlib.crc32(f"{a.dtype} {a.shape}".encode()))
        for name, a in arrays.items()
    }
    path.write_bytes(with_description(json.dumps({"checksums": sums, **description}), arrays))
    assert Trainer.load(path, "numpy").epoch == 2
    sums["params"] += 1
    refused(path, with_description(json.dumps({"checksums": sums, **description}), arrays), "array 'params'")


def test_arrays_that_are_missing_or_too_many(written, tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(written)
    arrays, description = checkpoint_file.read(path)
    sums = {name: checkpoint_file._checksum(array) for name, array in arrays.items()}
    text = json.dumps({"checksums": sums, **description})
    for name in arrays:
        refused(
            path, with_description(text, {n: a for n, a in arrays.items() if n != name}), f"array '{name}'"
        )
    refused(path, with_description(text, {**arrays, "extra": np.zeros(1)}), "array 'extra'")
    swapped = {**arrays, "params": arrays["best.params"] + 1.0}
    refused(path, with_description(text, swapped), "array 'params' is not what was written")
    refused(
        path, with_description(text, {**arrays, "params": arrays["params"].view("int64")}), "array 'params'"
    )
    refused(path, with_description(text, {**arrays, "params": arrays["params"][None]}), "array 'params'")


def test_missing_files(tmp_path):
    for path, found in (
        (tmp_path, "none"),
        (tmp_path / "nowhere", "none"),
        (tmp_path / "a.safetensors", "a folder"),
    ):
        if path.suffix:
            path.mkdir()
        with pytest.raises(CheckpointError, match=f"expected a file, found {found}"):
            Trainer.load(path)


def test_a_file_that_may_not_be_read(written, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "c.safetensors"
    path.write_bytes(written)
    monkeypatch.setattr("xpnet.train.checkpoint_file.open_regular", refuse)
    with pytest.raises(CheckpointError, match=r"cannot be read: Permission denied"):
        Trainer.load(path)


# ------------------------------------------------------------------------------------------ writing
FULL = OSError(errno.ENOSPC, "No space left on device")


class _Failing:
    """Fails at the n-th call."""

    def __init__(self, error, at=1):
        self.error, self.remaining = error, at

    def __call__(self, *args, **options):
        self.remaining -= 1
        if self.remaining == 0:
            raise self.error


@pytest.mark.parametrize("place", ["os.fsync", "os.replace", "tempfile.mkstemp", "os.chmod", "write"])
@pytest.mark.parametrize("error", [FULL, KeyboardInterrupt()], ids=["full", "ctrl-c"])
@pytest.mark.parametrize("older", [True, False])
def test_a_save_that_fails_leaves_what_was_there(place, error, older, tmp_path, monkeypatch):
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    if older:
        trainer.save(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    trainer.fit(X, Y, epochs=2)
    with monkeypatch.context() as patch:
        if place == "write":
            opened = os.fdopen

            def full(*args, **options):
                file = opened(*args, **options)

                class Full:
                    def __enter__(self):
                        return self

                    def __exit__(self, *_):
                        file.close()

                    def write(self, content):
                        file.write(content[:10])
                        raise error

                return Full()

            patch.setattr(os, "fdopen", full)
        else:
            patch.setattr(place, _Failing(error))
        expected = CheckpointError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            trainer.save(tmp_path)
    if expected is CheckpointError:
        assert "No space left on device" in str(caught.value)
        assert "unchanged" in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    trainer.save(tmp_path)
    assert_same_training(Trainer.load(tmp_path, "numpy"), trainer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_disk_that_is_really_full(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "x"))
    )
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(CheckpointError, match="No space left"):
        trainer.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("here")
    trainer = make()
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(CheckpointError, match="its folder cannot be made"):
        trainer.save(tmp_path / "file" / "run")
    with pytest.raises(CheckpointError, match="folder cannot be made"):
        trainer.save(tmp_path / "file")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        trainer.save(tmp_path / "folder.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.safetensors"]


def test_saving_before_training(tmp_path):
    with pytest.raises(ConfigError, match="save: expected a trainer that has been trained"):
        make().save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_reading_runs_no_code(written, tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    path.write_bytes(written)

    def forbidden(*args, **options):
        raise AssertionError("reading a checkpoint must not run code")

    for name in ("eval", "exec"):
        monkeypatch.setattr(builtins, name, forbidden)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    assert Trainer.load(path, "numpy").epoch == 2
