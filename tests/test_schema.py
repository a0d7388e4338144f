"""Files of JSON are what their tables say, and of Unicode, finite and shallow."""

from __future__ import annotations

import os

import pytest

from xpnet import checks
from xpnet.errors import CheckpointError
from xpnet.files import append, read_regular
from xpnet.schema import ANY, NUMBER, SHA256, TEXT, check, parse, read_json
from xpnet.text import visible

SCHEMA = {
    "format": checks.one_of("a", "b"),
    "rows": [{"epoch": checks.whole(0), "loss": (None, NUMBER), ...: NUMBER}],
    "pair?": [TEXT, checks.flag],
    "digest?": SHA256,
    "anything?": ANY,
}
GOOD = b'{"format": "a", "rows": [{"epoch": 1, "loss": null, "accuracy": 0.5}], "pair": ["x", true]}'


def test_what_the_table_says_passes():
    check(parse(GOOD), SCHEMA)
    check({"format": "b", "rows": [], "anything": {"x": [None]}, "digest": "0f" * 32}, SCHEMA)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "expected an object, found \\[\\]"),
        (b'{"rows": []}', "format is missing"),
        (b'{"format": "c", "rows": []}', "format: expected 'a' or 'b', found 'c'"),
        (b'{"format": "a", "rows": {}}', "rows: expected a list, found"),
        (b'{"format": "a", "rows": [{"epoch": -1, "loss": 1}]}', r"rows\[0\].epoch: .* found -1"),
        (b'{"format": "a", "rows": [{"epoch": true, "loss": 1}]}', r"rows\[0\].epoch: .* found True"),
        (
            b'{"format": "a", "rows": [{"epoch": 1, "loss": "x"}]}',
            r"rows\[0\].loss: expected a number, found 'x'",
        ),
        (b'{"format": "a", "rows": [{"epoch": 1, "loss": 1, "b": []}]}', r"rows\[0\].b: expected a number"),
        (b'{"format": "a", "rows": [], "pair": ["x"]}', "pair: expected a list of 2"),
        (b'{"format": "a", "rows": [], "digest": "xyz"}', "digest: expected a SHA-256"),
        (
            b'{"format": "a", "row": [], "rows": []}',
            "row is unknown to this version .did you mean 'rows'.*newer xpnet",
        ),
        (b'{"format": "a", "rows": [], "\\u001b[2J\\n": 1}', r"\\x1b\[2J\\n is unknown"),
        (b'{"format": "\\ud800", "rows": []}', "expected text of Unicode"),
        (b'{"\\ud800": 1}', "expected text of Unicode"),
        (b"\xff", "utf-8"),
        (b"NaN", "finite numbers"),
        (b"1e999", "finite numbers"),
        (b"1" * 401, "at most 400 digits"),
        (b"1" * 5000, "limit"),
        (b"[" * 65 + b"]" * 65, "at most 64 lists and objects in each other"),
        (b"[" * 10**5, "at most 64 lists and objects in each other"),
        (b"{", "Expecting property name"),
    ],
)
def test_anything_else_is_refused(content, message, tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_json(path, SCHEMA)
    assert str(caught.value).startswith(f"'{path}' is damaged: ")
    assert str(caught.value).isprintable()


def test_files_that_are_too_large_or_none(tmp_path):
    path = tmp_path / "file.json"
    path.write_bytes(GOOD)
    with pytest.raises(CheckpointError, match="cannot be read: expected at most 10 bytes, found"):
        read_json(path, SCHEMA, most=10)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_json(tmp_path / "none", SCHEMA)
    with pytest.raises(CheckpointError, match=r"cannot be read: .*null"):
        read_json(f"{path}\0", SCHEMA)


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "named pipe", "folder"])
def test_only_regular_files_are_opened(kind, tmp_path):
    target, path = tmp_path / "target", tmp_path / "path"
    target.write_text("x")
    make = {"symbolic link": path.symlink_to, "hard link": path.hardlink_to}.get(kind)
    if make is not None:
        make(target)
    elif kind == "named pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    uses = [lambda path: append(path, "more"), *([read_regular] if kind != "hard link" else [])]
    for use in uses:  # a hard link is written to by nobody, and read as any other file
        with pytest.raises(OSError, match=rf"{kind}|directory"):
            use(path)
    assert target.read_text() == "x"
    if make is not None:
        assert read_regular(path, follow=True) == b"x"


def test_printable_text_is_one_line():
    assert visible("plain text, ü 漢字\xa0") == "plain text, ü 漢字\xa0"
    assert visible("a\nb\r\x1b[2J\x9b\u202e\u2028\ud800\0") == (r"a\nb\r\x1b[2J\x9b\u202e\u2028\ud800\x00")
