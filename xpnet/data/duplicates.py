"""Columns that hold the same, and categories that may mean the same, or nothing."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.data.findings import Findings
from xpnet.data.stacks import stacks

__all__ = ["advise_of_categories", "same_columns"]

_HOLLOW = {
    "none", "na", "n.a.", "nil", "-", "--", ".", "*", "(null)", "missing", "#div/0!", "#value!", "#ref!",
}  # fmt: skip
# Spellings of true and false in one language each.
_TRUTHS = (
    ("1", "0"), ("1.0", "0.0"), ("true", "false"), ("t", "f"), ("yes", "no"), ("y", "n"), ("on", "off"),
    ("ja", "nein"), ("j", "n"), ("wahr", "falsch"), ("oui", "non"), ("vrai", "faux"), ("sí", "no"),
    ("si", "no"), ("verdadero", "falso"), ("vero", "falso"), ("sim", "não"), ("ja", "nee"),
    ("да", "нет"), ("是", "否"),
)  # fmt: skip
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+")
_LOOKS = str.maketrans(
    "АВЕКМНОРСТХаеорсух\u2010\u2011\u2012\u2013\u2212’‘“”", "ABEKMHOPCTXaeopcyx-----''\"\""
)  # of Greek and Russian letters, hyphens and quotes
_MOST_TOLD = 5
_MOST_OTHERS = 1  # beside words of truth, such as "unknown"


def advise_of_categories(
    name: str, categories: Sequence[Any], findings: Findings, what: str = "categories"
) -> None:
    """Note categories that differ in case or blanks alone, mean the same, or may stand for missing cells.

    Args:
        name: the column.
        categories: its categories.
        findings: takes note.
        what: what they are called: "categories" or "classes".
    """
    texts = [category for category in categories if isinstance(category, str)]
    different = "they count as different: write them alike if one is meant"
    left, alike = texts, dict[str, list[str]]()
    for likeness, how in _LIKENESS.items():
        alike = {}
        for text in left:
            alike.setdefault(likeness(text), []).append(text)
        if groups := [group for group in alike.values() if len(group) > 1]:
            told = ", ".join(
                " and ".join(map(ascii if likeness is _seen else repr, group))
                for group in groups[:_MOST_TOLD]
            )
            more = f", and {len(groups) - _MOST_TOLD:,} more groups" if len(groups) > _MOST_TOLD else ""
            findings.decide(name, f"has {what} that {how}", f"{told}{more}; {different}", warning=True)
        left = [group[0] for group in alike.values()]
    words = {_without_case(text): text for text in reversed(texts)}
    if same := _same_truths(words):
        told = ", ".join(" and ".join(repr(words[word]) for word in group) for group in same)
        what_of = f"has {what} that may mean the same in several spellings"
        findings.decide(name, what_of, f"{told}; {different}", warning=True)
    if hollow := [text for text in texts if text.lower() in _HOLLOW]:
        findings.decide(
            name,
            f"has {what} that may stand for missing cells",
            f"{', '.join(map(repr, hollow))}; they count like any other: leave such cells empty if they do",
            warning=what == "classes",
        )


def _without_case(text: str) -> str:
    return " ".join(text.split()).casefold()


def _seen(text: str) -> str:
    """Return text as it looks: without invisible characters, with one letter for those that look alike."""
    if text.isascii():
        return _without_case(text)
    visible = (
        letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf"
    )
    return _without_case("".join(visible).translate(_LOOKS))


def _value(text: str) -> str:
    """Return the number that a text is, the text if it is none."""
    found = text.strip()
    return repr(float(found)) if _NUMBER.fullmatch(found) else _seen(text)


_LIKENESS: dict[Callable[[str], str], str] = {
    _without_case: "differ in case or blanks alone",
    _seen: "look the same",
    _value: "are the same number",
}


def _same_truths(words: Collection[str]) -> list[list[str]]:
    """Return words that all mean true, and such that mean false, if one of these is said in several ways."""
    known = {word for pair in _TRUTHS for word in pair}
    there = [pair for pair in _TRUTHS if pair[0] in words and pair[1] in words]
    others = len(set(words) - known)
    if not there or others > _MOST_OTHERS:
        return []
    if not others:
        there = [pair for pair in _TRUTHS if pair[0] in words or pair[1] in words]
    said = [list(dict.fromkeys(pair[place] for pair in there if pair[place] in words)) for place in (0, 1)]
    return [some for some in said if len(some) > 1]


def same_columns(cells: Mapping[str, Any], kinds: Mapping[str, str]) -> list[list[str]]:
    """Return groups of columns of one kind that hold the same.

    Args:
        cells: of each column: an array, or a series of polars.
        kinds: the kind of each.
    """
    seen: dict[tuple[str, bytes], list[str]] = {}
    for name, digest in _digests(cells).items():
        seen.setdefault((kinds[name], digest), []).append(name)
    return [group for group in seen.values() if len(group) > 1]


def _digests(cells: Mapping[str, Any]) -> dict[str, bytes]:
    """Return a digest of the cells of each column."""
    alike: dict[Any, list[str]] = {}
    for name, found in cells.items():
        alike.setdefault(found.dtype, []).append(name)
    digests = dict.fromkeys(cells, b"")
    for names in alike.values():
        blocks = (block for _, block in stacks([cells[name] for name in names]))
        rows = itertools.chain.from_iterable(map(_rows, blocks, itertools.repeat(len(cells[names[0]]))))
        for name, row in zip(names, rows, strict=True):
            digests[name] = hashlib.blake2b(row.view(np.uint8).data, digest_size=16).digest()
    return digests


def _rows(block: Any, rows: int) -> np.ndarray:
    """Return the cells of a stack as numbers, (columns, rows)."""
    return block if isinstance(block, np.ndarray) else block.hash(seed=0).to_numpy().reshape(-1, rows)
