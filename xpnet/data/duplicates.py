"""Columns that hold the same, and categories that may mean the same, or nothing."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
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
_KNOWN_TRUTHS = {word for pair in _TRUTHS for word in pair}
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
    words: dict[str, list[str]] = {}
    for text in texts:
        words.setdefault(_without_case(text), []).append(text)
    alike = {"differ in case or blanks alone": words}
    for how, likeness, concerns in _LIKENESS:
        if concerns.search("\n".join(texts)):
            groups = alike[how] = dict[str, list[str]]()
            for group in words.values():
                groups.setdefault(likeness(group[0]), []).append(group[0])
    for how, found in alike.items():
        if several := [group for group in found.values() if len(group) > 1]:
            shown = ascii if how == _LOOK else repr
            told = ", ".join(" and ".join(map(shown, group)) for group in several[:_MOST_TOLD])
            more = f", and {len(several) - _MOST_TOLD:,} more groups" if len(several) > _MOST_TOLD else ""
            findings.decide(name, f"has {what} that {how}", f"{told}{more}; {different}", warning=True)
    if same := _same_truths(words):
        told = ", ".join(" and ".join(repr(words[word][0]) for word in group) for group in same)
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
    letters = unicodedata.normalize("NFKC", text)
    visible = "".join(letter for letter in letters if unicodedata.category(letter) != "Cf")
    return _without_case(visible.translate(_LOOKS))


def _value(text: str) -> str:
    """Return the number that a text is, the text if it is none."""
    return repr(float(text)) if _NUMBER.fullmatch(text.strip()) else text


_LOOK = "look the same"
# How texts are alike, what shows it, and what is in those that can be.
_LIKENESS = ((_LOOK, _seen, re.compile("[^\0-\x7f]")), ("are the same number", _value, re.compile("[0-9]")))


def _same_truths(words: Collection[str]) -> list[list[str]]:
    """Return words that all mean true, and such that mean false, if one of these is said in several ways."""
    others = len(set(words) - _KNOWN_TRUTHS)
    there = (
        [pair for pair in _TRUTHS if pair[0] in words and pair[1] in words] if others <= _MOST_OTHERS else []
    )
    if not there:
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
