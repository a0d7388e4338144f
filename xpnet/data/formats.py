"""Formats of tables, told by the name of a file or its first bytes; advice on those that are not read."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

from xpnet.errors import DataError, suggest

__all__ = [
    "EXTENSIONS",
    "FORMATS",
    "PACKINGS",
    "Format",
    "format_of",
    "is_text",
    "named_packing",
    "packing_of",
]


@dataclass(frozen=True)
class Format:
    """A format of tables.

    Attributes:
        words: what it is called in messages.
        extensions: of the names of its files; empty where content alone shows it.
        advice: on a format that is not read; empty if it is.
        magic: what its files may begin with.
    """

    words: str
    extensions: tuple[str, ...]
    advice: str = ""
    magic: tuple[bytes, ...] = ()


_PANDAS = "read it with pandas and save it as Parquet: pandas.{}(...).to_parquet('table.parquet')"
_SAVE = "open it in a spreadsheet program, and save it as .xlsx or CSV"
_TEXT = "unpack it, and name the file within"

FORMATS = {
    "csv": Format("CSV", (".csv", ".txt")),
    "tsv": Format("TSV", (".tsv", ".tab")),
    "parquet": Format("Parquet", (".parquet", ".pq"), magic=(b"PAR1",)),
    "feather": Format("Feather (Arrow IPC)", (".feather", ".arrow", ".ipc"), magic=(b"ARROW1", b"\xff" * 4)),
    "json": Format("JSON", (".json",)),
    "jsonl": Format("JSON lines", (".jsonl", ".ndjson")),
    "xlsx": Format("Excel", (".xlsx", ".xlsm")),
    "npz": Format("NPZ", (".npz",)),
    "npy": Format("NPY", (".npy",), magic=(b"\x93NUMPY",)),
}
"""Formats that are read, by name."""

_UNREAD = (
    Format("a workbook of old Excel", (".xls",), _SAVE, (b"\xd0\xcf\x11\xe0",)),
    Format("a workbook of binary Excel", (".xlsb",), _SAVE),
    Format("an OpenDocument table", (".ods",), _SAVE),
    Format("a Stata file", (".dta",), _PANDAS.format("read_stata"), (b"<stata_dta>",)),
    Format("an SPSS file", (".sav",), _PANDAS.format("read_spss"), (b"$FL2", b"$FL3")),
    Format("a SAS file", (".sas7bdat", ".xpt"), _PANDAS.format("read_sas"), (b"\0" * 12 + b"\xc2\xea\x81",)),
    Format("an HDF5 file", (".h5", ".hdf5", ".hdf"), _PANDAS.format("read_hdf"), (b"\x89HDF\r\n",)),
    Format("an ORC file", (".orc",), _PANDAS.format("read_orc"), (b"ORC",)),
    Format("an old Feather file (version 1)", (), _PANDAS.format("read_feather"), (b"FEA1",)),
    Format(
        "a data file of R", (".rds", ".rda", ".rdata"), "save it from R: write.csv(table, 'table.csv')",
        (b"RDX3\n", b"RDX2\n", b"X\n\0\0\0"),
    ),
    Format(
        "a pickle", (".pkl", ".pickle"),
        "which can run code and is never read: where you trust it, save it as Parquet: "
        "pandas.read_pickle(...).to_parquet('table.parquet')",
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    ),
    Format(
        "a database of SQLite", (".sqlite", ".sqlite3", ".db"),
        "save a table of it as CSV: sqlite3 -header -csv FILE 'select * from TABLE' > table.csv",
        (b"SQLite format 3\0",),
    ),
    Format(
        "an ARFF file of Weka", (".arff",), "save it as CSV, in Weka or with scipy.io.arff",
        (b"@relation", b"@RELATION"),
    ),
    Format(
        "a pointer of Git LFS to a file", (), "get the file itself: git lfs pull",
        (b"version https://git-lfs",),
    ),
    Format("a ZIP archive", (".zip",), _TEXT),
    Format("a file packed by bzip2", (".bz2",), "unpack it: bunzip2 FILE", (b"BZh",)),
    Format("a file packed by xz", (".xz",), "unpack it: unxz FILE", (b"\xfd7zXZ\0",)),
    Format("a tar archive", (".tar", ".tgz"), _TEXT),
    Format("a 7z archive", (".7z",), _TEXT, (b"7z\xbc\xaf",)),
    Format("a PDF document", (".pdf",), "save its table as CSV", (b"%PDF",)),
    Format(
        "a picture", (".png", ".jpg", ".jpeg", ".gif"), "name a file of a table",
        (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"),
    ),
    Format(
        "an HTML or XML page", (".html", ".htm", ".xml"),
        "a download that went wrong? Fetch the file itself, or save the table as CSV",
        (b"<", b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML", b"<?xml"),
    ),
)  # fmt: skip

PACKINGS = {".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"}
"""Packings that are unpacked, by the last extension of a name such as ``table.csv.gz``."""

_SHEETS = (".xls", ".xlsb", ".ods")  # names that programs give to text as well
_TEXTS = ("csv", "tsv", "json", "jsonl")
_SURE = 5  # bytes of text that tell a format; fewer may begin the name of a column
_ZIP = b"PK\3\4"
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}

EXTENSIONS = tuple(extension for format in FORMATS.values() for extension in format.extensions)
"""Extensions that `read_table` knows, in any case; each may be followed by one of a packing."""


def named_packing(name: str) -> tuple[str, str]:
    """Return the packing that a file's name tells ("" for none), and its name without it.

    >>> named_packing("table.csv.GZ")
    ('gzip', 'table.csv')
    """
    suffix = PurePath(name).suffix.lower()
    return (PACKINGS[suffix], name[: -len(suffix)]) if suffix in PACKINGS else ("", name)


def packing_of(data: bytes) -> str:
    """Return the packing that the first bytes of a file show; "" for none."""
    return next((packing for magic, packing in _PACKED.items() if data.startswith(magic)), "")


def format_of(
    path: str,
    name: str,
    head: bytes,
    archive: str | os.PathLike[str] | IO[bytes],
    declared: str | None = None,
) -> tuple[str, str]:
    """Return the format of a table, and the reason if it is told by content and not by name.

    Content that shows one format wins over a name that tells another.

    Args:
        path: of the file, for messages; "-": the standard input, where text is CSV unless it begins as JSON.
        name: which tells the format; without the extension of a packing.
        head: the first bytes of the file, unpacked.
        archive: the file itself, in which names are looked up if it is a ZIP archive.
        declared: the format's name, which then decides.

    Raises:
        DataError: the format is unknown, or none that is read.
    """
    if declared is not None:
        if declared not in FORMATS:
            raise DataError(f"format: there is no format '{declared}'{suggest(declared, FORMATS)}")
        return declared, ""
    extension = PurePath(name).suffix.lower()
    told = next((key for key, format in FORMATS.items() if extension in format.extensions), "")
    if told in ("npz", "xlsx") and head.startswith(_ZIP):
        return told, ""
    shown = _in_archive(archive) if head.startswith(_ZIP) else _shown(head)
    if isinstance(shown, Format):
        told_by = max((magic for magic in shown.magic if head.startswith(magic)), key=len, default=b"")
        if told not in ("csv", "tsv") or not is_text(head) or len(told_by) >= _SURE:
            raise DataError(f"'{path}' is {shown.words} by its content: {shown.advice}")
    elif isinstance(shown, str) and shown and shown != told:
        said = (
            f"though its name ends in '{extension}'"
            if told
            else f"as its extension '{extension}' says nothing"
        )
        return shown, said
    unread = next((format for format in _UNREAD if extension and extension in format.extensions), None)
    if is_text(head) and (extension in _SHEETS or told not in ("", *_TEXTS)):
        return _of_text(path, extension, head)
    if told:
        return told, ""
    known = ", ".join(EXTENSIONS)
    if unread:
        raise DataError(f"'{path}' is {unread.words} by its name: {unread.advice}; read are {known}")
    text = is_text(head)
    if text and _format_of_text(head) == "json":
        return "json", "it begins as JSON does"
    if path == "-" and text:
        return "csv", ""
    if text:
        advice = "its content is text: if that is a table whose first line names the columns, call it .csv"
    else:
        advice = "its content is binary and of no known format: save the table as CSV or Parquet"
    raise DataError(f"'{path}' has the unknown extension '{extension}'; {advice}; read are {known}")


def _of_text(path: str, extension: str, head: bytes) -> tuple[str, str]:
    """Return the format of text in a file whose name ends as those of a format that is none, and why."""
    found = _format_of_text(head)
    if found == "csv" and b"\n" not in head.strip():
        begins = head[:40].decode(errors="replace").strip()
        raise DataError(
            f"'{path}' holds a line of text, '{begins}', though its name ends in '{extension}': a download "
            "that went wrong? Fetch the file itself"
        )
    return found, f"which is text, though its name ends in '{extension}'"


def _format_of_text(head: bytes) -> str:
    return "json" if head.lstrip()[:1] in (b"[", b"{") else "csv"


def _shown(head: bytes) -> Format | str:
    """Return the format, or the name of one that is read, that content shows; "" for none."""
    for key, format in FORMATS.items():
        if head.startswith(format.magic):
            return key
    return next((format for format in _UNREAD if format.magic and head.startswith(format.magic)), "")


def _in_archive(file: Any) -> Format | str:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            kind = archive.open("mimetype").read(100) if "mimetype" in names else b""
    except Exception:  # damaged: whoever reads it says so
        return ""
    if "xl/workbook.xml" in names:
        return "xlsx"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    wanted = (
        ".ods" if b"opendocument.spreadsheet" in kind else ".xlsb" if "xl/workbook.bin" in names else ".zip"
    )
    return next(format for format in _UNREAD if wanted in format.extensions)


def is_text(head: bytes) -> bool:
    """Whether bytes are text, of one byte a letter or of UTF-16 with its mark."""
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or not (
        b"\0" in head or sum(byte < 32 and byte not in b"\t\n\r\f" for byte in head[:4096])
    )
