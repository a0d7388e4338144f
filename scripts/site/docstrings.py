"""Docstrings as mkdocstrings reads them: examples as code blocks, and a line for each parameter.

A doctest outside of an "Example" section is text to it, in which brackets would be taken for links; and it
knows no roles of Sphinx and no parameters named together, ``X, y: ...``.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import griffe

_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_PLACE = re.compile(r"^ *<\w+>$", re.MULTILINE)
_TOGETHER = re.compile(r"^( +)((?:\*{0,2}\w+, )+\*{0,2}\w+): (.*)$")


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            filled = _PLACE.search(obj.docstring.value) is not None
            obj.docstring.value = rewritten(_at_run_time(obj) if filled else obj.docstring.value)


def _at_run_time(obj: griffe.Object) -> str:
    """Return the docstring of a class in which its decorator has described settings."""
    return inspect.getdoc(getattr(importlib.import_module(obj.module.path), obj.name)) or ""


def rewritten(text: str) -> str:
    """Return a docstring in the form that mkdocstrings understands.

    >>> print(rewritten("Add.\\n\\n>>> 1 + 1\\n2"))
    Add.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    """
    text = re.sub(r"\$\$\n( *)\$\$", r"$$\n\n\1$$", text)  # formulas in paragraphs of their own
    made: list[str] = []
    fence = ""
    in_examples = False
    for line in _ROLE.sub(r"`\1`", text).splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        if re.fullmatch(r"Examples?:", line.strip()):
            in_examples = True
        elif line and not indent:
            in_examples = False
        if line.lstrip().startswith(">>>") and not fence and not in_examples:
            fence = f"{indent}```"
            made.append(f"{fence}pycon")
        elif fence and not line.strip():
            made.append(fence)
            fence = ""
        together = _TOGETHER.match(line)
        if together is not None and not fence:
            said = together[3]
            made += [f"{together[1]}{name}: {said}" for name in together[2].split(", ")]
        else:
            made.append(line.replace("Example:", "Examples:") if line.strip() == "Example:" else line)
    return "\n".join([*made, fence] if fence else made)
