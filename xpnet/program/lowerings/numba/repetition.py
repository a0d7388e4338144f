"""Code that a program has several times becomes a function: the layers of a deep network compile once.

Blocks of lines are the same if they differ in names and in where their arrays are only.
"""

from __future__ import annotations

import re

__all__ = ["without_repetition"]

_ENTRY = re.compile(r"\b(m_\w+|p\d+)\[([^\]]*)\]")
_PART = re.compile(r"\bpart\b")
_NAME = re.compile(r"\b[rtx]\d+\b|\ba\d+_\d+\b")


def without_repetition(blocks: list[list[str]]) -> tuple[list[list[str]], dict[str, list[str]]]:
    """Return the blocks with calls in place of repeated ones, and the lines of the called functions.

    Args:
        blocks: lines of code, in which entries are of the form ``pointer[index + offset]``, the offset last
            and perhaps left out.
    """
    forms = [_form(block) for block in blocks]
    texts = ["\n".join(lines) for lines, _ in forms]
    shared: dict[str, str] = {}
    for text in texts:
        if texts.count(text) > 1 and text.count("\n") > 1:
            shared.setdefault(text, f"shared{len(shared)}")
    functions = {}
    done = []
    for block, text, (lines, places) in zip(blocks, texts, forms, strict=True):
        if text not in shared:
            done.append(block)
            continue
        given = [f"moved({pointer}, {offset})" if offset else pointer for pointer, offset in places]
        of_part = ["part"] if _PART.search(text) else []
        done.append([f"{shared[text]}({', '.join([*given, *of_part])})"])
        functions[shared[text]] = [
            f"def {shared[text]}({', '.join([*(f'q{i}' for i in range(len(places))), *of_part])}):",
            *(f"    {line}" for line in lines),
        ]
    return done, functions


def _form(block: list[str]) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the lines with names in order of appearance, and what ``q0``, ``q1`` ... stand for."""
    places: dict[tuple[str, int], str] = {}
    names: dict[str, str] = {}

    def entry(found: re.Match[str]) -> str:
        terms = found[2].split(" + ")
        offset = int(terms.pop()) if terms[-1].isdigit() else 0
        place = places.setdefault((found[1], offset), f"q{len(places)}")
        return f"{place}[{' + '.join(terms) or '0'}]"

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"y{len(names)}")

    return [_NAME.sub(name, _ENTRY.sub(entry, line)) for line in block], list(places)
