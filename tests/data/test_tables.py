"""Reading and writing tables: each format, and each kind of broken file."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xpnet.data import MISSING, load, read_table, write_table
from xpnet.errors import ConfigError, DataError

pl = pytest.importorskip("polars", reason="tables need polars")


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def parquet(**columns: list) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    return buffer.getvalue()


GOOD_TEXT = {
    "whole numbers": ("a\n1\n-2\n+3\n", pl.Int64, [1, -2, 3]),
    "decimal numbers": ("a\n1\n2.5\n1e3\n.5\n", pl.Float64, [1.0, 2.5, 1000.0, 0.5]),
    "a decimal far down": ("a\n" + "1\n" * 5000 + "0.5\n", pl.Float64, [1.0] * 5000 + [0.5]),
    "booleans": ("a\ntrue\nFalse\nTRUE\n", pl.Boolean, [True, False, True]),
    "text": ("a\n1\nx\n", pl.String, ["1", "x"]),
    "beyond int64": ("a\n18446744073709551615\n-1\n", pl.Int128, [2**64 - 1, -1]),
    "beyond any integer": ("a\n" + "9" * 60 + "\n", pl.String, ["9" * 60]),
    "infinity": ("a\ninf\n1.5\n", pl.Float64, [float("inf"), 1.5]),
    "blanks around cells": (" a \n 1\n2 \n", pl.Int64, [1, 2]),
    "blank lines": ("\n\na\n1\n\n2\n\n\n", pl.Int64, [1, 2]),
    "no last line end": ("a\n1", pl.Int64, [1]),
    "Windows line ends": ("a\r\n1\r\n2\r\n", pl.Int64, [1, 2]),
    "old Macintosh line ends": ("a\r1\r2\r", pl.Int64, [1, 2]),
    "byte order mark": ("\ufeffa\n1\n", pl.Int64, [1]),
    "quoted line end and quotes": (
        'a\n"x\n\ny"\n"say ""hi"""\n5" pipe\n',
        pl.String,
        ["x\n\ny", 'say "hi"', '5" pipe'],
    ),
    "nothing but missing cells": ("a\nNA\n?\n", pl.String, [None, None]),
}


@pytest.mark.parametrize("case", GOOD_TEXT)
def test_csv_cells(tmp_path, case):
    content, dtype, values = GOOD_TEXT[case]
    column = read_table(put(tmp_path, "t.csv", content))["a"]
    assert (column.dtype, column.to_list()) == (dtype, values)


@pytest.mark.parametrize("spelled", MISSING)
@pytest.mark.parametrize("quote", ["", '"'])
def test_missing_cells(tmp_path, spelled, quote):
    frame = read_table(put(tmp_path, "t.csv", f"a,b\n1,x\n{quote}{spelled}{quote}, {spelled} \n"))
    assert frame.rows() == [(1, "x"), (None, None)]
    assert frame["a"].dtype == pl.Int64


def test_extension_case_and_tabs(tmp_path):
    assert read_table(put(tmp_path, "t.TSV", "a\tb\n1\tx, y\n")).rows() == [(1, "x, y")]


def test_columns_kept_as_text(tmp_path):
    path = put(tmp_path, "t.csv", "code,n\n007,1\n042,2\n")
    assert read_table(path, text=["code"])["code"].to_list() == ["007", "042"]
    assert read_table(path)["code"].to_list() == ["007", "042"]
    assert read_table(path, text=["n"])["n"].to_list() == ["1", "2"]


def test_header_with_blank_lines_in_a_wide_table(tmp_path):
    assert read_table(put(tmp_path, "t.csv", "a,b\n1,2\n   \n\n3,4\n")).rows() == [(1, 2), (3, 4)]


RECORDS = np.array([(1, 2.5, "u"), (2, 3.5, "v")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U1")])

GOOD_ARRAYS = {
    "X and y": (
        "t.npz",
        npz(X=np.arange(4.0).reshape(2, 2), y=np.array([1, 0])),
        {"x0": [0, 2], "x1": [1, 3], "y": [1, 0]},
    ),
    "columns": (
        "t.NPZ",
        npz(age=np.array([1, 2]), name=np.array(["u", "v"])),
        {"age": [1, 2], "name": ["u", "v"]},
    ),
    "bytes": ("t.npz", npz(a=np.array([b"u", b"v"])), {"a": ["u", "v"]}),
    "matrix": ("t.npy", npy(np.array([[1, 2], [3, 4]], dtype=">i2")), {"x0": [1, 3], "x1": [2, 4]}),
    "half": ("t.npy", npy(np.array([[1.5]], dtype=np.float16)), {"x0": [1.5]}),
    "long double": ("t.npy", npy(np.array([[1.5]], dtype=np.longdouble)), {"x0": [1.5]}),
    "records": ("t.npy", npy(RECORDS), {"a": [1, 2], "b": [2.5, 3.5], "c": ["u", "v"]}),
    "Fortran order": ("t.npy", npy(np.asfortranarray([[True, False]])), {"x0": [True], "x1": [False]}),
    "parquet": ("t.parquet", parquet(a=[1, None], b=["u", "v"]), {"a": [1, None], "b": ["u", "v"]}),
}


@pytest.mark.parametrize("case", GOOD_ARRAYS)
def test_binary_formats(tmp_path, case):
    name, content, columns = GOOD_ARRAYS[case]
    assert read_table(put(tmp_path, name, content)).to_dict(as_series=False) == columns


SEPARATED = {
    "semicolons": ("a;b\n1;x\n2;y\n", [1, 2]),
    "tabs": ("a\tb\n1\tx\n2\ty\n", [1, 2]),
    "bars": ("a|b\n1|x\n2|y\n", [1, 2]),
    "quoted names": ('"a";"b"\n1;"x"\n2;"y;z"\n', [1, 2]),
    "commas and a name with a semicolon": ('a,"b;c"\n1,x\n2,y\n', [1, 2]),
    "decimal commas, which the encoder reads": ("a;b\n1,5;x\n-,25;y\n", ["1,5", "-,25"]),
    "decimal commas, some without": ("a;b\n1,5e3;x\n;y\n2;z\n", ["1,5e3", None, "2"]),
    "commas in the header": ("Name, first;b\n1;2\n3;4\n", None),
    "its first line says so": ("sep=;\na;b,c\n1;2,3\n2;4,5\n", [1, 2]),
    "decimal points after all": ("a;b\n1.5;x\n2;y\n", [1.5, 2.0]),
    "points and commas, which may mean anything": ("a;b\n1.000,5;x\n2;y\n", ["1.000,5", "2"]),
    "two commas": ("a;b\n1,000,000;x\n2;y\n", ["1,000,000", "2"]),
    "commas in quotes are no decimal ones": ('a,b\n"1,5",x\n2,y\n', ["1,5", "2"]),
}


@pytest.mark.parametrize("case", SEPARATED)
def test_a_csv_may_have_other_separators(tmp_path, case):
    content, values = SEPARATED[case]
    frame = read_table(put(tmp_path, "t.csv", content))
    assert frame.width == 2
    if values is not None:
        assert frame.columns[0] == "a"
        assert frame["a"].to_list() == values


PARQUET = parquet(a=list(range(500)), b=["x"] * 500)
ZEROS = io.BytesIO()
np.savez_compressed(ZEROS, X=np.zeros((10, 2**21)))
ZEROS = ZEROS.getvalue()
NPZ = npz(X=np.random.default_rng(0).normal(size=(50, 3)), y=np.arange(50))
FLAGS = NPZ.index(b"PK\1\2") + 8  # of the first file in the archive's directory; 1: encrypted
OBJECTS = np.array([{"a": 1}, None], dtype=object)

BAD_FILES = {
    "empty csv": ("t.csv", "", "empty"),
    "blank csv": ("t.csv", "\n \n", "empty"),
    "only a byte order mark": ("t.csv", "\ufeff", "empty"),
    "empty parquet": ("t.parquet", "", "empty"),
    "empty npz": ("t.npz", "", "empty"),
    "header alone": ("t.csv", "a,b\n", "header of 2 columns, but no rows"),
    "header and blank lines": ("t.csv", "a,b\n\n\n", "no rows"),
    "same name twice": ("t.csv", "a,b,a\n1,2,3\n", "more than once: 'a'"),
    "same name but for blanks": ("t.csv", "a, a\n1,2\n", "more than once: 'a'"),
    "ragged rows, all of them": (
        "t.csv",
        "a,b\n1,2\n1\n1,2,3\n" + "1,2,3\n" * 9,
        r"11 of 12 rows .*: row 2 \(line 3\) has 1 cells, row 3 .*, row 6 \(line 7\) has 3 cells, \.\.\.",
    ),
    "names and rows at once": ("t.csv", "a,a\n1,2\n1\n", r"more than once: 'a'.*; also: row 2 \(line 3\)"),
    "separators at the ends": ("t.csv", "a,b\n1,2,\n3,4,\n", "each row ends with a separator"),
    "a first cell more that does not count": ("t.csv", "a\nx,1\ny,2\n", "2 of 2 rows have too many"),
    "long row": ("t.csv", "a,b\n1,2\n1,2,3\n", r"row 2 \(line 3\) has 3 cells, the header has 2"),
    "short row": ("t.csv", "a,b\n1,2\n\n1\n", r"row 2 \(line 4\) has 1 cells, the header has 2"),
    "open quote": ("t.csv", 'a,b\n"1,2\n3,4\n', "quotes"),
    "stray quote": ("t.csv", 'a,b\n"x"y,2\n', "quotes"),
    "quote open from line 3 on": ("t.csv", 'a,b\n1,2\n"3,4\n5,6\n', "from line 3 on"),
    "open quote in the header": ("t.csv", 'a,"b\n1,2\n', "from line 1 on"),
    "commas in tsv": ("t.tsv", "a,b\n1,2\n", "separated by ',', but tabs are read: rename it to .csv"),
    "a row of another separator": ("t.csv", "a;b\n1;2\n3,4\n", r"row 2 \(line 3\) has 1 cells"),
    "zero bytes": ("t.csv", b"a,b\n1,\0\n", "binary"),
    "PNG as csv": ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "is a picture by its content"),
    "UTF-16 cut": ("t.csv", "a,b\n1,2\n".encode("utf-16")[:-1], "no readable UTF-16"),
    "UTF-16 without a mark": (
        "t.csv",
        ("a,b\n" + "1,2\n" * 99).encode("utf-16-le"),
        "without a byte order mark",
    ),
    "UTF-8 and Latin-1": (
        "t.csv",
        "a\nné\n".encode() + "né\n".encode("latin-1"),
        "in part, and not in line 3",
    ),
    "no known encoding": ("t.csv", b"a\n1\n\x81\n", "another known encoding: line 3"),
    "a message as parquet": (
        "t.parquet",
        "Not Found",
        "a line of text, 'Not Found', though its name ends in '.par",
    ),
    "a pointer": ("t.csv", "version https://git-lfs.github.com/spec/v1\noid 1\n", "Git LFS.*git lfs pull"),
    "a page": ("t.csv", "<!DOCTYPE html>\n<p>1</p>\n", "HTML or XML page by its content"),
    "binary as parquet": ("t.parquet", bytes(range(256)) * 4, "no readable Parquet"),
    "cut parquet": ("t.parquet", PARQUET[:-20], "no readable Parquet"),
    "parquet without its start": ("t.parquet", PARQUET[100:], "no readable Parquet"),
    "parquet without rows": ("t.parquet", parquet(a=[]), "no rows"),
    "cut npz": ("t.npz", NPZ[:-30], "no readable NumPy"),
    "cut npy": ("t.npy", npy(np.arange(100.0).reshape(50, 2))[:-30], "no readable NumPy"),
    "damaged npz": ("t.npz", NPZ[:300] + bytes(50) + NPZ[350:], "no readable NumPy"),
    "damaged npy header": ("t.npy", npy(np.zeros((2, 2))).replace(b"(2, 2)", b"(2, 2("), "no readable NumPy"),
    "encrypted npz": ("t.npz", NPZ[:FLAGS] + b"\1" + NPZ[FLAGS + 1 :], "no readable NumPy"),
    "zip of text as npz": ("t.npz", None, "'readme.txt' is no NumPy array"),
    "objects in npz": ("t.npz", npz(a=OBJECTS), "pickled data is never read"),
    "objects in npy": ("t.npy", npy(OBJECTS, allow_pickle=True), "pickled data is never read"),
    "X without rows": ("t.npz", npz(X=np.zeros((0, 3))), "no rows"),
    "lengths": ("t.npz", npz(X=np.zeros((3, 1)), y=np.zeros(2)), r"equally many rows.*\(3, 1\).*\(2,\)"),
    "more than is there": (
        "t.npy",
        npy(np.zeros((2, 2))).replace(b"(2, 2), ", b"(9000000, 9000000), "),
        "header",
    ),
    "nothing, very often": (
        "t.npy",
        npy(np.zeros((1, 1), "U0")).replace(b"(1, 1), ", b"(9**9,), "),
        "NumPy file",
    ),
    "twice the same": ("t.npz", npz(a=np.zeros(1), b=np.zeros(1)).replace(b"b.npy", b"a.npy"), "there twice"),
    "zeros": ("t.npz", ZEROS, "would unpack to 160.*at most 128.*np.savez"),
    "a scalar": ("t.npz", npz(X=np.zeros((3, 1)), a=np.float64(1)), r"'a' has shape \(\)"),
    "y of two dimensions": ("t.npz", npz(X=np.zeros((3, 1)), y=np.zeros((3, 1))), r"'y' has shape \(3, 1\)"),
    "same column twice": (
        "t.npz",
        npz(X=np.zeros((3, 1)), x0=np.zeros(3)),
        "column 'x0', which is there already",
    ),
    "three dimensions": ("t.npy", npy(np.zeros((2, 2, 2))), r"shape \(2, 2, 2\)"),
    "one dimension": ("t.npy", npy(np.zeros(2)), r"shape \(2,\)"),
    "complex": ("t.npy", npy(np.zeros((2, 2), dtype=complex)), "complex128"),
    "bytes that are no text": ("t.npz", npz(a=np.array([b"\xff", b"v"])), "UTF-8"),
    "text as Excel": ("t.xlsx", "x", "a line of text, 'x'"),
    "no extension": (
        "table",
        "a\n1\n",
        "unknown extension ''; its content is text: .* call it .csv; read are .csv,",
    ),
    "binary of no known format": ("t.bin", bytes(range(256)), "binary and of no known format"),
    "Stata": (
        "t.dta",
        b"<stata_dta><header>",
        r"a Stata file by its content: .*read_stata\(...\).to_parquet",
    ),
    "Stata by name": ("t.dta", b"r\0\1\2\3", "a Stata file by its name"),
    "old Excel": (
        "t.csv",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0",
        "old Excel by its content: .*save it as .xlsx",
    ),
    "a pickle": ("t.pkl", b"\x80\x04\x95\0\0\0", "can run code and is never read"),
    "HTML": ("t.data", "<!doctype html>", "HTML or XML page by its content: a download"),
    "cut gz": ("t.csv.gz", gzip.compress(b"a\n1\n" * 999)[:-9], "no readable gzip file"),
    "gz that is none": ("t.csv.gz", b"\0a\n1\n", "no readable gzip file"),
    "a bomb": ("t.csv.gz", gzip.compress(b"1\n" * 2**27), "unpacks to more than 128"),
    "csv as json": ("t.json", "a,b\n1,2\n", "is no JSON: it begins 'a,b', .* call it .csv"),
    "cut json": ("t.json", '[{"a": 1}, {"a": ', r"no readable JSON .*line 1, column"),
    "json of numbers": ("t.json", "[1, 2]", "JSON of another form: expected a list of records"),
    "json of lists": ("t.json", '[{"a": [1]}]', "row 1, column 'a' holds a list"),
    "json that is deep": ("t.json", "[" * 99999, "nested too deeply"),
    "a name twice in json": ("t.json", '[{"a": 1, "a": 2}]', "'a' is used more than once"),
    "columns of json": ("t.json", '{"a": [1], "b": [1, 2]}', "equally many rows"),
    "json line": ("t.jsonl", '{"a": 1}\n{"a"\n', "no JSON in line 2"),
    "empty json": ("t.json", "[]", "JSON of another form"),
    "damaged Arrow": ("t.feather", b"ARROW1\0\0" + bytes(99), "no readable Feather"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path, case):
    name, content, message = BAD_FILES[case]
    if content is None:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("readme.txt", "no array")
    else:
        put(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("extension", [".parquet", ".npz", ".npy"])
def test_files_cut_anywhere(tmp_path, extension):
    whole = {".parquet": PARQUET, ".npz": NPZ, ".npy": npy(np.arange(100.0).reshape(50, 2))}[extension]
    for length in range(1, len(whole) - 1, max(1, len(whole) // 25)):
        with pytest.raises(DataError):
            read_table(put(tmp_path, f"t{extension}", whole[:length]))


def test_missing_file_and_folder(tmp_path):
    put(tmp_path, "flowers.csv", "a\n1\n")
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / "flower.csv")
    assert str(caught.value).endswith(f"; did you mean '{tmp_path / 'flowers.csv'}'?")
    with pytest.raises(DataError, match="no folder"):
        read_table(tmp_path / "nowhere" / "flower.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path):
    path = put(tmp_path, "t.csv", "a\n1\n")
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(path)


def test_without_polars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match=r"pip install polars"):
        read_table(put(tmp_path, "t.csv", "a\n1\n"))


# ------------------------------------------------------------------------------------------- load


def test_load_guesses_the_target(tmp_path):
    assert load(put(tmp_path, "t.csv", "a,Label\n1,2\n")).target == "Label"
    assert load(put(tmp_path, "u.csv", "a,b\n1,2\n"), target="b").target == "b"
    assert load("digits", target="pixel_3_3").target == "pixel_3_3"


BAD_LOADS = {
    "near a built-in": ("digit", None, r"did you mean 'digits'\?"),
    "near a file": ("flower.csv", None, r"did you mean 'flowers.csv'\?"),
    "near nothing": ("qqqq", None, "built-in tables: digits, two-gaussians"),
    "no likely target": ("flowers.csv", None, "target=NAME; columns: 'a', 'b'"),
    "two likely targets": ("two.csv", None, "several columns"),
    "no such target": ("flowers.csv", "bb", r"no column 'bb'; did you mean 'b'|no column 'bb'; known: a, b"),
    "no header": ("numbers.csv", "y", "no column 'y'; known: .*; its first line holds numbers: put one with"),
    "parted by blanks": ("blanks.csv", "y", "no column 'y'; .*; part the columns with commas, semicolons"),
    "a title above": ("above.csv", "y", "; is its first line a title. remove the lines above"),
    "quotes and blanks": ("r.csv", "y", "from line 2 on: .*; part its columns with commas, not blanks"),
    "lines above the header": (
        "title.csv",
        "y",
        "the header has 1; remove the lines above the one that names",
    ),
    "no such target in a built-in": ("digits", "digid", r"did you mean 'digit'\?"),
}


@pytest.mark.parametrize("case", BAD_LOADS)
def test_bad_loads(tmp_path, monkeypatch, case):
    name, target, message = BAD_LOADS[case]
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "flowers.csv", "a,b\n1,2\n")
    put(tmp_path, "two.csv", "a,y,class\n1,2,3\n")
    put(tmp_path, "numbers.csv", "1.5,2\n2.5,3\n")
    put(tmp_path, "blanks.csv", "a y\n1 2\n")
    put(tmp_path, "above.csv", "My report,\na,y\n1,2\n")
    put(tmp_path, "r.csv", 'a y\n"1" 2 "b"\n')
    put(tmp_path, "title.csv", "My report\na,y\n1,2\n")
    with pytest.raises(DataError, match=message):
        load(name, target=target)


# ---------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("extension", [".csv", ".tsv", ".parquet"])
def test_write_and_read(tmp_path, extension):
    columns = {"row": np.array([1, 2]), "class": np.array(["a", "b, c"]), "p": np.array([0.1, 1e-300])}
    path = tmp_path / f"out{extension}"
    path.write_text("old")
    write_table(columns, path)
    assert read_table(path).to_dict(as_series=False) == {k: v.tolist() for k, v in columns.items()}
    assert os.listdir(tmp_path) == [path.name]
    write_table(pl.DataFrame({"row": [2**64 - 1, None]}), path)
    assert read_table(path)["row"].to_list()[0] == 2**64 - 1
    write_table({"big": np.array([2**70, -1], dtype=object)}, path)
    assert read_table(path)["big"].to_list() == [2**70, -1]


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1)


@settings(deadline=None, max_examples=60)
@given(
    numbers=st.lists(st.floats(allow_nan=False), min_size=1, max_size=8),
    word=WORDS.filter(lambda word: word == word.strip() and word not in MISSING),
    extension=st.sampled_from([".csv", ".tsv", ".parquet"]),
)
def test_files_give_back_what_was_written(tmp_path_factory, numbers, word, extension):
    path = tmp_path_factory.getbasetemp() / f"round{extension}"
    columns = {"number": np.array([0.5, *numbers]), "word": np.array(["a"] + [word] * len(numbers))}
    write_table(columns, path, formulas="keep")
    frame = read_table(path, text=["word"])
    assert frame["number"].to_list() == [0.5, *numbers]
    assert frame["word"].to_list() == ["a"] + [word] * len(numbers)


BAD_WRITES = {
    "extension": ("out.npz", {"a": [1]}, ".csv, .tsv or .parquet"),
    "folder": ("nowhere/out.csv", {"a": [1]}, "No such file or directory"),
    "is a folder": ("folder.csv", {"a": [1]}, "it is a folder"),
    "lengths": ("out.csv", {"a": [1], "b": [1, 2]}, "equally many rows"),
    "dimensions": ("out.csv", {"a": np.zeros((2, 2))}, r"shape \(2, 2\)"),
}


@pytest.mark.parametrize("case", BAD_WRITES)
def test_bad_writes(tmp_path, case):
    name, columns, message = BAD_WRITES[case]
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=message):
        write_table(columns, tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.csv"]


@pytest.mark.parametrize("extension", [".csv", ".parquet"])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk(tmp_path, monkeypatch, extension, call):
    path = tmp_path / f"out{extension}"
    path.write_text("old")

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(DataError, match="No space left on device"):
        write_table({"a": np.arange(10)}, path)
    assert (os.listdir(tmp_path), path.read_text()) == ([path.name], "old")


@pytest.mark.parametrize("extension", [".csv", ".parquet"])
def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch, extension):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_table({"a": np.arange(10)}, tmp_path / f"out{extension}")
    assert os.listdir(tmp_path) == []


def test_cells_that_are_formulas(tmp_path):
    texts = ["=HYPERLINK(1)", "+1+2", "-2+3", "@SUM(A1)", "\tx", "\rx", "'=x", "\uff1dx", "a=b", "'a", None]
    numbers = ["-1", "+2.5", "-3e-4", "1", "-.5", *6 * ["7"]]
    frame = pl.DataFrame({"=name": texts, "number": numbers, "x": [-1.0] * 11})
    write_table(frame, tmp_path / "escaped.csv")
    write_table(frame, tmp_path / "kept.csv", formulas="keep")
    write_table(frame, tmp_path / "as-it-is.parquet")
    found = pl.read_csv(tmp_path / "escaped.csv", infer_schema=False)
    assert found["'=name"].to_list() == [f"'{text}" for text in texts[:8]] + texts[8:]
    assert found["number"].to_list() == frame["number"].to_list()
    back = found["'=name"].str.replace("^'('*[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20])", "$1")
    assert back.to_list() == texts
    assert pl.read_csv(tmp_path / "kept.csv", infer_schema=False)["=name"].to_list() == texts
    assert pl.read_parquet(tmp_path / "as-it-is.parquet").equals(frame)
    with pytest.raises(ConfigError, match="expected 'escape' or 'keep'"):
        write_table(frame, tmp_path / "x.csv", formulas="no")


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.npy").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "s.csv"))
        for name, kind in (("pipe.csv", "a named pipe"), ("zero.npy", "a device"), ("s.csv", "a socket")):
            for read in (read_table, load):
                with pytest.raises(DataError, match=f"{name}' cannot be read: it is {kind}; write"):
                    read(tmp_path / name)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "Permission denied; change its permissions"),
        (errno.EMFILE, "Too many open files; raise the limit"),
        (errno.EIO, "look after the disk"),
        (errno.ENAMETOOLONG, "File name too long; choose a shorter name"),
    ],
)
def test_the_true_reason_and_remedy(number, words, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a\n1\n")

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", refuse)
        with pytest.raises(DataError, match=words):
            load(tmp_path / "t.csv")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match=f"nothing was left behind: .*{words}"):
        write_table({"a": [1]}, tmp_path / "u.csv")
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_file_in_place_of_a_folder_and_long_names(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file' is no folder"):
        read_table(tmp_path / "file" / "t.csv")
    long = tmp_path / f"{'n' * 250}.csv"
    write_table({"a": [1]}, long)  # though a temporary name is longer
    assert read_table(long)["a"].to_list() == [1]
    with pytest.raises(DataError, match="choose a shorter name"):
        read_table(tmp_path / f"{'n' * 300}.csv")


def test_long_cells_and_names_that_look_like_patterns(tmp_path):
    (tmp_path / "t.csv").write_text(f"^a.*$,ab,text\n1,2,{'x' * 200_000}\n,true,y\n")
    frame = read_table(tmp_path / "t.csv")
    assert frame.schema == {"^a.*$": pl.Int64, "ab": pl.String, "text": pl.String}
    assert frame["text"].str.len_chars().to_list() == [200_000, 1]


def test_a_first_cell_that_begins_with_a_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n\ufeffx,1\ny,2\n", encoding="utf-8")
    assert read_table(tmp_path / "t.csv")["a"].to_list() == ["\ufeffx", "y"]


def test_wide_tables_are_quick(tmp_path):
    """Time of a column does not grow with their number; 20,000 took 9 s of the processor, call by call."""
    names = ",".join(f"c{i}" for i in range(20_000))
    rows = "\n".join(",".join(cells) for cells in (["1"] * 20_000, ["2.5"] * 20_000))
    (tmp_path / "t.csv").write_text(f"{names}\n{rows}\n")
    begun = time.process_time()
    assert read_table(tmp_path / "t.csv").dtypes == [pl.Float64] * 20_000
    assert time.process_time() - begun < 5
