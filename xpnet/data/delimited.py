"""CSV and TSV files, read strictly.

Python's csv module decides what the cells are (quotes, widths, line ends), so that nothing is padded, cut
or renamed in silence; polars holds the columns, and `xpnet.data.column_types` decides what the cells mean.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from xpnet.data._packages import import_polars
from xpnet.data.column_types import typed
from xpnet.data.decisions import Decision
from xpnet.data.encodings import decoded
from xpnet.data.headers import named, told_of_repeats, twice, without_hollow
from xpnet.data.notations import MISSING
from xpnet.data.oddities import doubts_of_header
from xpnet.errors import DataError

if TYPE_CHECKING:
    import polars

__all__ = ["read_delimited"]

_MOST_LISTED = 5  # rows in a message
_MOST_CELLS = 2**21  # that are held as Python's text
_TRIED = 20  # records by which a separator is chosen


def read_delimited(
    name: str, data: bytes, separators: str, text: Collection[str] = (), decimal: str | None = None
) -> tuple[polars.DataFrame, str | None, list[Decision]]:
    """Read a file of separated cells whose first line names the columns.

    Blanks around cells are dropped, and so are blank lines; but ``""`` is a missing cell. The columns have
    the types that `xpnet.data.column_types.typed` gives them. A header of one cell less than all rows leaves
    the name of the first column out, if that counts the rows. A first line such as ``sep=;`` names the
    separator.

    Args:
        name: of the file, for messages.
        data: the file's bytes, in an encoding that `xpnet.data.encodings.decoded` knows.
        separators: characters that may separate cells; the first that parts the header, and the first rows
            into as many cells, is taken; if none does, the first that parts the header.
        text: names of columns that stay text even if all their cells are numbers.
        decimal: the decimal mark of the file, where it is declared.

    Returns:
        The table, in which columns without a name have the name ""; its decimal mark, see `typed`; what was
        decided.

    Raises:
        DataError: the file is binary, without rows or header, has ragged rows, unbalanced quotes, or column
            names that are used twice; all of this that can be known at once.
    """
    content, decisions = decoded(name, data)
    declared = re.match(r"(?i)\s*\"?sep=([,;|\t])\"?[^\S\n\r]*(?:\r\n|\r|\n)", content)
    skipped = 0
    if declared:
        separators, skipped = declared[1], 1
        content = content[declared.end() :]
    separator = _separator(name, content, separators)
    records = _Records(name, content, separator, skipped)
    found = iter(records)
    names = _names(name, next(found, None), separator)
    ragged = _Ragged(len(names))
    columns = _columns(ragged.looked(records.without_headers(found)))
    problems = [problem] if (problem := twice(names)) else []
    if ragged.found and ragged.names_rows:
        names = ["", *names]  # as R writes the names of rows
    elif ragged.found:
        problems.append(ragged.message())
    if problems:
        raise DataError(f"'{name}': {'; also: '.join(problems)}")
    if not ragged.rows:
        raise DataError(f"'{name}' has a header of {len(names)} columns, but no rows")
    if records.blank and len(names) == 1:
        decisions.append(_blank_lines(records.blank))
    decisions += told_of_repeats(records.headers, "line")
    given, (names, told) = names, named(names)
    first, *others = (column.rename(name) for name, column in zip(names, columns, strict=True))
    frame = first.to_frame().hstack(others)
    frame, told = without_hollow(frame, told)
    frame, shown, more = typed(frame, text, separator=separator, decimal=decimal)
    return frame, shown, [*decisions, *doubts_of_header(given, frame), *told, *more]


def _columns(records: Iterable[list[str]]) -> list[polars.Series]:
    """Return the columns of records, without blanks around cells, null where they are missing.

    Records of different widths make columns without meaning.
    """
    parts: list[polars.Series] = []
    cells: list[str] = []
    width = 0
    for record in records:
        width = width or len(record)
        cells += record
        if len(cells) >= _MOST_CELLS:
            parts.append(_transposed(cells, width))
            cells = []
    if cells:
        parts.append(_transposed(cells, width))
    lengths = [len(part) // width for part in parts]
    columns = []
    for place in range(width):
        pieces = [part.slice(place * rows, rows) for part, rows in zip(parts, lengths, strict=True)]
        columns.append(pieces[0] if len(pieces) == 1 else import_polars().concat(pieces, rechunk=True))
    return columns


def _transposed(cells: list[str], width: int) -> polars.Series:
    """Return cells that stand row after row, column after column."""
    pl = import_polars()
    texts = pl.Series(cells, dtype=pl.String).str.strip_chars()
    texts = texts.set(texts.is_in(MISSING), None)
    return texts.gather(np.arange(len(cells) // width * width).reshape(-1, width).T.ravel())


class _Records:
    """The records of a file: the last line's number and the cells of each that is no blank line.

    Attributes:
        blank: numbers of blank lines between records.
        headers: numbers of lines that `without_headers` has left out.
    """

    def __init__(self, name: str, content: str, separator: str, skipped: int = 0):
        self.name, self.content, self.separator, self.skipped = name, content, separator, skipped
        self.blank: list[int] = []
        self.headers: list[int] = []
        self.header: list[str] = []

    def without_headers(self, records: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
        """Yield records but those that are the same as the first one, as where files were joined."""
        several = sum(map(bool, self.header)) > 1
        for line, cells in records:
            if several and cells == self.header:
                self.headers.append(line)
            else:
                yield line, cells

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        lines = io.StringIO(self.content, newline="")
        # the process's limit, 131,072 characters a cell unless somebody has changed it, is only ever raised
        csv.field_size_limit(max(csv.field_size_limit(), len(self.content)))
        # strict: a quote in the wrong place is an error, not a guess
        reader = csv.reader(lines, delimiter=self.separator, strict=True)
        line = self.skipped
        blank: list[int] = []
        try:
            for cells in reader:
                line = reader.line_num + self.skipped
                if cells == [""] or len(cells) > 1 or "".join(cells).strip():  # [""] is a quoted cell: ""
                    self.blank += blank
                    blank = []
                    self.header = self.header or cells
                    yield line, cells
                else:
                    blank.append(line)
        except csv.Error as error:
            header = self.content.lstrip().partition("\n")[0]
            blanks = self.separator not in header and len(header.split()) > 1
            raise DataError(
                f"'{self.name}' cannot be split into cells from line {line + 1} on: {error}; "
                + ("part its columns with commas, not blanks" if blanks else "are its quotes balanced?")
            ) from None


def _separator(name: str, content: str, separators: str) -> str:
    """Return the separator of a file."""
    parting = []
    for separator in separators:
        try:
            tried = list(itertools.islice(_Records(name, content, separator), _TRIED))
        except DataError:  # of another separator's quotes
            continue
        widths = [len(cells) for _, cells in tried]
        if widths and widths[0] > 1:
            if len(set(widths)) == 1:
                return separator
            parting.append(separator)
    return parting[0] if parting else separators[0]


class _Ragged:
    """Rows that have not as many cells as the header.

    Attributes:
        rows: number of all rows.
        found: number of ragged ones.
        names_rows: whether each row has a first cell more, which counts the rows.
    """

    def __init__(self, width: int):
        self.width, self.rows, self.found = width, 0, 0
        self.listed: list[str] = []
        self.names_rows = True
        self.ended = True  # each by a separator, behind which is nothing
        self.first = ""

    def looked(self, records: Iterable[tuple[int, list[str]]]) -> Iterator[list[str]]:
        """Yield the cells of the records behind the header."""
        for line, cells in records:
            self.rows += 1
            if len(cells) != self.width:
                self._look(line, [cell.strip() for cell in cells])
            elif self.names_rows:
                self.names_rows = False
            yield cells

    def _look(self, line: int, cells: list[str]) -> None:
        self.found += 1
        self.first = self.first or cells[0]
        begins = int(self.first) if self.first in ("0", "1") else 2
        one_more = len(cells) == self.width + 1
        self.names_rows &= one_more and cells[0] == str(begins + self.rows - 1)
        self.ended &= one_more and not cells[-1]
        if len(self.listed) < _MOST_LISTED:
            self.listed.append(f"row {self.rows} (line {line}) has {len(cells)} cells")

    def message(self) -> str:
        """Return the message about them."""
        rows = ", ".join(self.listed) + (", ..." if self.found > len(self.listed) else "")
        if self.found > 1:
            rows = f"{self.found} of {self.rows} rows have too many cells or too few: {rows}"
        if self.ended and self.found == self.rows:
            advice = "each row ends with a separator: end the header with one too, or remove those"
        elif self.width == 1 and self.found == self.rows > 1:
            advice = "remove the lines above the one that names the columns"
        else:
            advice = "add or remove cells, and quote cells that contain the separator"
        return f"{rows}, the header has {self.width}; {advice}"


def _names(file: str, record: tuple[int, list[str]] | None, separator: str) -> list[str]:
    """Return the names in the header."""
    if record is None:
        raise DataError(f"'{file}' is empty: a header line and at least one row are needed")
    names = [name.strip() for name in record[1]]
    if len(names) == 1 and separator == "\t":
        for other in ",;|":
            if other in names[0]:
                raise DataError(
                    f"'{file}' has the single column '{names[0]}'; cells seem to be separated by {other!r}, "
                    "but tabs are read: rename it to .csv"
                )
    return names


def _blank_lines(lines: list[int]) -> Decision:
    many = f"{len(lines)} blank lines" if len(lines) > 1 else "a blank line"
    return Decision(
        None,
        f"read without {many} (line {lines[0]}{' and others' if len(lines) > 1 else ''})",
        'a blank line is no row; write "" or NA for a missing cell',
        warning=True,
    )
