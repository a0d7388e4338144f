"""Reading of tables as they are in real life: what is decided and said, formats, packings, indices."""

from __future__ import annotations

import datetime
import gzip
import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest

from xpnet.data import load, notation_of, open_table, read_table
from xpnet.data.sources import standard_input
from xpnet.errors import ConfigError, DataError

pl = pytest.importorskip("polars", reason="tables need polars")

needs_excel = pytest.mark.skipif(not importlib.util.find_spec("openpyxl"), reason="needs openpyxl")
needs_zstd = pytest.mark.skipif(not importlib.util.find_spec("zstandard"), reason="needs zstandard")


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def said(table) -> str:
    return "; ".join(map(str, table.decisions))


def opened(tmp_path, content, words):
    """Return the table of some text, of which these words are said, or nothing at all."""
    table = open_table(put(tmp_path, "t.csv", content))
    assert words in said(table)
    assert words or not table.decisions
    return table


# content, the columns that are read, the table's decimal mark, what is said
CELLS = {
    "thousands beside decimal points": (
        "pop;inc\n9,569;31.7\n890;26.7\n", {"pop": ["9,569", "890"], "inc": [31.7, 26.7]}, ".", "",
    ),
    "two readings": (
        "pop;price\n9569;15.353\n890;2.335\n", {"pop": [9569, 890], "price": ["15.353", "2.335"]}, None, "",
    ),
    "beside whole numbers": ("a;b\n9.569;x\n987;y\n", {"a": ["9.569", "987"], "b": ["x", "y"]}, None, ""),
    "points, as another column shows": (
        "a;b\n15.353;1.5\n2.335;2\n", {"a": [15.353, 2.335], "b": [1.5, 2.0]}, ".", "'a' read with decimal",
    ),
    "commas, as another column shows": (
        "a;b\n15.353;1,5\n2.335;2\n", {"a": ["15.353", "2.335"], "b": ["1,5", "2"]}, ",", "",
    ),
    "in a file of commas": ("a,b\n15.353,x\n2.335,y\n", {"a": [15.353, 2.335], "b": ["x", "y"]}, ".", ""),
    "thousands in quotes": ('y\n"19,441"\n"18,898"\n', {"y": ["19,441", "18,898"]}, ".", ""),
    "decimal commas in quotes": ('y\n"19,44"\n"18,8"\n', {"y": ["19,44", "18,8"]}, ",", ""),
    "both marks": ('y,x\n"19,44",1.5\n"1,234",2\n', {"y": ["19,44", "1,234"], "x": [1.5, 2.0]}, None, ""),
    "tabs": ("a\tb\n15.353\tx\n2.335\ty\n", {"a": [15.353, 2.335], "b": ["x", "y"]}, None, ""),
    "leading zeros": (
        "zip,n\n94103,0\n00501,0.5\n", {"zip": ["94103", "00501"], "n": [0, 0.5]}, ".",
        "column 'zip' kept as text: leading zeros, such as '00501'",
    ),
    "zeros alone": (
        "a,b,c\n0,00,0.0\n0,0,-0.5\n", {"a": [0, 0], "b": ["00", "0"], "c": [0, -0.5]}, ".", "'00'",
    ),
    "dates are no codes": ("d,n\n01.02.2020,1\n,2\n", {"d": ["01.02.2020", None], "n": [1, 2]}, ".", ""),
    "units": (
        "w,n\n5 kg,1\n7.5 kg,2\n", {"w": ["5 kg", "7.5 kg"], "n": [1, 2]}, ".", "the unit 'kg', such as '5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_numbers_in_files(tmp_path, case):
    content, columns, mark, words = CELLS[case]
    table = open_table(put(tmp_path, "t.csv", content))
    assert table.frame.to_dict(as_series=False) == columns
    assert table.decimal == mark
    assert words in said(table)
    assert words or not table.decisions


def test_declared_marks(tmp_path):
    path = put(tmp_path, "t.csv", "a;b;c\n15.353;7;1e2\n2.335;8;2\n")
    assert read_table(path, decimal=".")["a"].to_list() == [15.353, 2.335]
    for marks in ({"decimal": ","}, {"thousands": "."}):
        table = open_table(path, **marks)
        assert table.frame.dtypes == [pl.String, pl.Int64, pl.Float64]
        assert notation_of(table.frame["a"], decimal=table.decimal).read(table.frame["a"])[0] == 15353
        assert load(path, target="b", **marks).decimal == ","
    assert read_table(put(tmp_path, "u.csv", "a\n15.353\n"), decimal=",")["a"].to_list() == ["15.353"]
    with pytest.raises(ConfigError, match="expected two different marks"):
        read_table(path, decimal=",", thousands=",")


# content, rows, what is said
ONE_COLUMN = {
    "an empty quoted cell": ('x\n1.0\n""\n3.0\n', [1.0, None, 3.0], ""),
    "the last one": ('x\n1\n""\n', [1, None], ""),
    "all of them": ('x\n""\n""\n', [None, None], ""),
    "Windows": ('x\r\n1\r\n""\r\n3\r\n', [1, None, 3], ""),
    "text": ('x\na\n""\n', ["a", None], ""),
    "a blank line": ("x\n1\n\n3\n", [1, 3], 'without a blank line (line 3): a blank line is no row'),
    "blank lines": ("x\n1\n\n \n3\n\n", [1, 3], "without 2 blank lines (line 3 and others)"),
    "blank lines at the end": ("x\n1\n\n\n", [1], ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ONE_COLUMN)
def test_rows_of_one_column(tmp_path, case):
    content, values, words = ONE_COLUMN[case]
    table = open_table(put(tmp_path, "t.csv", content))
    assert table.frame["x"].to_list() == values
    assert words in said(table)
    assert words or not table.decisions


# content, columns, what is said
UNNAMED = {
    "R": ('"","a"\n"1",5\n"2",6\n', ["a"], "'unnamed' left out: it has no name and counts the rows from 1"),
    "pandas": (",a\n0,5\n1,6\n", ["a"], "counts the rows from 0"),
    "pandas, read and written": ("Unnamed: 0,a\n0,5\n1,6\n", ["a"], "'Unnamed: 0' left out"),
    "R without a cell in the header": ("a,b\n1,5,x\n2,6,y\n", ["a", "b"], "counts the rows from 1"),
    "names of rows": (",a\nMazda,5\nFiat,6\n", ["unnamed", "a"], "column 'unnamed' named so: it has no name"),
    "a part of the rows": (",a\n3,5\n7,6\n", ["unnamed", "a"], "named so"),
    "a name that is there": (",unnamed\n3,5\n7,6\n", ["unnamed_", "unnamed"], "named so"),
    "another column": ("a,,b\n1,2,3\n", ["a", "column_2", "b"], "'column_2' named by its place"),
    "nothing in it": ("a,b,\n1,2,\n3,4,\n", ["a", "b"], "left out: it has neither a name nor a cell"),
    "the only column": ('""\n1\n2\n', ["unnamed"], "named so"),
    "counted by a column with a name": ("id,a\n1,5\n2,6\n", ["id", "a"], ""),
}  # fmt: skip


@pytest.mark.parametrize("case", UNNAMED)
def test_columns_without_a_name(tmp_path, case):
    content, columns, words = UNNAMED[case]
    assert opened(tmp_path, content, words).frame.columns == columns


def test_an_unnamed_column_that_is_needed(tmp_path):
    path = put(tmp_path, "t.csv", ",y\n1,5\n2,6\n")
    assert read_table(path, needed=["unnamed"])["unnamed"].to_list() == [1, 2]
    assert load(path, target="").target == "unnamed"
    frame = pl.DataFrame({"a": [1.5, 2.5], "__index_level_0__": [0, 1]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").columns == ["a"]


A_TO_B = "a,1\nb,2\n" * 4
# content, rows, what is said
ROWS = {
    "no header": ("5.1,red\n4.9,blue\n", 1, "first line as the names of the columns: it holds numbers, such"),
    "no header, of text": ("a,x\nb,y\na,y\nb,x\n", 3, "column 'a' holds 'a' as well, and so do others"),
    "years as names": ("state,1940,1950,1960,1970,1980\na,1,2,3,4,5\n", 1, ""),
    "places as names": ("0,1\n5,6\n", 1, ""),
    "a category of its column's name": ("married,x\nmarried,1\nsingle,2\n", 2, ""),
    "headers again": ("a,b\n1,2\na,b\n3,4\na,b\n", 2, "without 2 lines that repeat the header (line 3 and"),
    "a total": (f"s,y\n{A_TO_B}Total,12\n", 9, "row 9, which may be a total: 'Total' in column 's', the"),
    "sums": ("x,y\n" + "1.5,1\n2,2\n" * 4 + "14,12\n", 9, "a total: the sums of the rows above in 'x', 'y'"),
    "a total above a note": (f"s,y\n{A_TO_B}Summe:,12\nnote,\n", 10, "row 9, which may be a total: 'Summe:'"),
    "no total": ("shop,y\n" + "a,1\nTotal,2\n" * 5, 10, ""),
    "powers of ten": ("code\n1E5\n334\n", 2, "'code' read as powers of ten: '1E5' is 100000; if these"),
    "numbers with exponents": ("x\n1.5E5\n334\n", 2, ""),
    "several units": ("w\n5 kg\n500 g\n", 2, "several units, such as '500 g', '5 kg'; for numbers, convert"),
    "ordinals": ("w\n1st\n2nd\n", 2, ""),
    "addresses": ("ip,y\n192.168.100.101,0.5\n192.168.100.102,1.5\n", 2, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_odd_rows_and_cells(tmp_path, case):
    content, rows, words = ROWS[case]
    table = opened(tmp_path, content, words)
    assert table.frame.height == rows
    assert all(decision.warning for decision in table.decisions)


ENCODED = {
    "UTF-8 with a mark": ("utf-8-sig", ""),
    "UTF-16": ("utf-16", ""),
    "UTF-32": ("utf-32", ""),
    "Latin-1": ("latin-1", "read as Latin-1 (cp1252), such as 'Köln' in line 2"),
}


@pytest.mark.parametrize("case", ENCODED)
def test_encodings(tmp_path, case):
    encoding, words = ENCODED[case]
    table = open_table(put(tmp_path, "t.csv", "stadt,größe\nKöln,1\nZürich,2\n".encode(encoding)))
    assert table.frame.rows() == [("Köln", 1), ("Zürich", 2)]
    assert table.frame.columns == ["stadt", "größe"]
    assert words.replace("'Köln' in line 2", "") in said(table)
    assert all(decision.warning for decision in table.decisions)


FRAME = pl.DataFrame({"a": [0.5, None, 2.5], "n": [1, 2, 3], "t": ["x", "ü", None], "b": [True, False, True]})
RECORDS = [dict(zip(FRAME.columns, row, strict=True)) for row in FRAME.rows()]
COLUMNS = FRAME.to_dict(as_series=False)


def written(method: str) -> bytes:
    buffer = io.BytesIO()
    getattr(FRAME, method)(buffer)
    return buffer.getvalue()


FORMATS = {
    "t.json": json.dumps(RECORDS).encode(),
    "lines.json": "\n".join(map(json.dumps, RECORDS)).encode(),
    "t.jsonl": "\n".join(map(json.dumps, RECORDS)).encode(),
    "t.ndjson": "\r\n".join(map(json.dumps, RECORDS)).encode(),
    "columns.json": json.dumps(COLUMNS).encode(),
    "pandas.json": json.dumps({k: dict(enumerate(v)) for k, v in COLUMNS.items()}).encode(),
    "split.json": json.dumps(
        {"columns": FRAME.columns, "index": [0, 1, 2], "data": list(map(list, FRAME.rows()))}
    ).encode(),
    "t.feather": written("write_ipc"),
    "t.arrow": written("write_ipc"),
    "stream.arrow": written("write_ipc_stream"),
    "t.PARQUET": written("write_parquet"),
    "t.pq": written("write_parquet"),
    "t.txt": written("write_csv"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packing", ["", ".gz", pytest.param(".zst", marks=needs_zstd)])
def test_formats_and_packings(tmp_path, name, packing):
    content = FORMATS[name]
    if packing == ".gz":
        content = gzip.compress(content)
    elif packing == ".zst":
        import zstandard

        whole = zstandard.ZstdCompressor().compress
        content = whole(content[:20]) + whole(content[20:])  # two frames
        with pytest.raises(DataError, match="no readable zstd file"):
            read_table(put(tmp_path, f"cut{name}{packing}", content[:-5]))
    table = open_table(put(tmp_path, f"{name}{packing}", content))
    assert table.frame.equals(FRAME)
    assert not table.decisions
    assert load(tmp_path / f"{name}{packing}", target="t").target == "t"


@pytest.mark.parametrize("name", ["t.data", "t.csv", "t"])
def test_content_that_the_name_does_not_tell(tmp_path, name):
    for content, words in ((FORMATS["t.pq"], "Parquet"), (FORMATS["t.arrow"], "Feather")):
        table = open_table(put(tmp_path, name, content))
        assert table.frame.equals(FRAME)
        assert f"read as {words}" in said(table)
    for other in ("t.xlsx", "t.xls", "t.parquet", "t.npz", "t.feather", "t.parquet.gz"):
        table = open_table(put(tmp_path, other, FORMATS["t.txt"]))
        extension = other.removesuffix(".gz")[1:]
        assert table.frame.equals(FRAME)
        assert f"read as CSV: by its content, which is text, though its name ends in '{extension}'" in said(
            table
        )
    assert "it is text and not packed by gzip" in said(table)
    assert "read as JSON: by its content" in said(open_table(put(tmp_path, "t.npy", FORMATS["t.json"])))
    table = open_table(put(tmp_path, "t.data", FORMATS["t.json"]))
    assert "read as JSON: by its content" in said(table)
    assert read_table(put(tmp_path, "t.data", FORMATS["t.txt"]), format="csv").equals(FRAME)
    with pytest.raises(DataError, match="there is no format 'cvs'; did you mean 'csv'"):
        read_table(tmp_path / "t.data", format="cvs")


@needs_zstd
def test_bombs_and_absent_packages(tmp_path, monkeypatch):
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(b"1\n" * 2**27)
    with pytest.raises(DataError, match="unpacks to more than 128"):
        read_table(put(tmp_path, "t.csv.zst", bomb))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(ConfigError, match=r"pip install 'xpnet\[zstd\]'"):
        read_table(tmp_path / "t.csv.zst")


def test_values_of_json(tmp_path):
    records = [
        {"a": 1, "b": "NA", "c": 2**70, "d": True},
        {"a": "x", "c": 1, "d": 1},
        {"a": None, "c": 2, "d": 1},
    ]
    table = open_table(put(tmp_path, "t.json", json.dumps(records)))
    assert table.frame.schema == {"a": pl.String, "b": pl.String, "c": pl.Int128, "d": pl.String}
    assert table.frame["a"].to_list() == ["1", "x", None]
    assert table.frame["b"].null_count() == 3
    assert "column 'b' has 2 missing cells: records lack it" in said(table)
    assert "column 'a' read as text: its cells are numbers and text" in said(table)
    assert "column 'd' read as text: its cells are booleans and numbers" in said(table)


@needs_excel
def test_excel(tmp_path, monkeypatch):
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Data"
    day = datetime.datetime(2020, 1, 2, 3, 4)
    rows = [
        [None, "n", "t", "when", "e"],
        [0, 1, " x ", day, 1.5],
        [1, 2.5, "NA", day, "#DIV/0!"],
        [None] * 5,
        [None, "n", "t", "when", "e"],
        [2, None, "y", None, 2],
    ]
    for row in rows:
        sheet.append(row)
    book.create_sheet("Notes")
    book.save(tmp_path / "t.xlsx")
    table = open_table(tmp_path / "t.xlsx")
    columns = {"n": [1.0, 2.5, None], "t": ["x", None, "y"], "when": [day, day, None], "e": [1.5, None, 2.0]}
    assert table.frame.to_dict(as_series=False) == columns
    for words in (
        "sheet 'Data' alone",
        "'Notes'",
        "errors of formulas",
        "counts the rows from 0",
        "repeats the",
    ):
        assert words in said(table)
    (tmp_path / "t.csv").write_bytes((tmp_path / "t.xlsx").read_bytes())
    assert "read as Excel: by its content, though its name ends in '.csv'" in said(
        open_table(tmp_path / "t.csv")
    )
    whole = (tmp_path / "t.xlsx").read_bytes()
    for length in range(4, len(whole) - 1, len(whole) // 10):
        with pytest.raises(DataError, match="no readable Excel file"):
            read_table(put(tmp_path, "cut.xlsx", whole[:length]))
    for row in range(2, 7):
        sheet[f"B{row}"] = "=1+1"
    book.save(tmp_path / "t.xlsx")
    assert "column 'n' is empty: the file has formulas without values" in said(
        open_table(tmp_path / "t.xlsx")
    )
    sheet["A1"] = "t"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="more than once: 't'"):
        read_table(tmp_path / "t.xlsx")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ConfigError, match=r"pip install 'xpnet\[excel\]'"):
        read_table(tmp_path / "t.xlsx")


@pytest.mark.parametrize(
    "content", [FORMATS["t.txt"], FORMATS["t.json"], FORMATS["t.jsonl"], FORMATS["t.pq"]]
)
def test_standard_input(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    standard_input.cache_clear()
    try:
        assert read_table("-").equals(FRAME)
        assert load("-", target="t").frame.equals(FRAME)  # it is kept
    finally:
        standard_input.cache_clear()


def test_no_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    standard_input.cache_clear()
    with pytest.raises(DataError, match="nothing is piped into it"):
        read_table("-")
