"""Files are written as a whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest

from xpnet.files import write_atomically


@pytest.mark.parametrize(
    ("content", "written"),
    [
        (b"\x00bytes", b"\x00bytes"),
        ("text ü\n", "text ü\n".encode()),
        ("", b""),
        (lambda f: [f.write(b"a"), f.write(b"b")], b"ab"),
    ],
)
@pytest.mark.parametrize("older", [True, False])
def test_content(tmp_path, content, written, older):
    path = tmp_path / "file.txt"
    if older:
        path.write_bytes(b"older and longer than what comes")
    write_atomically(str(path), content)
    assert path.read_bytes() == written
    assert os.listdir(tmp_path) == ["file.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "usual").write_text("")
    write_atomically(tmp_path / "mine", "")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "mine")}
    assert len(modes) == 1


@pytest.mark.parametrize("error", [OSError("full"), ValueError("bad"), KeyboardInterrupt()])
def test_failing_halfway(tmp_path, error):
    def failing(file):
        file.write(b"half")
        raise error

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(type(error)):
        write_atomically(path, failing)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _n=name, _o=original: (order.append(_n), _o(*a))[1])
    write_atomically(tmp_path / "file", "x")
    assert order == ["fsync", "replace", "fsync"]  # the last one is of the folder, which has the name


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", "x")
