"""Attributes of a trainer that belong to its setup, its settings or its state."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from typing import Any, TypeVar

from xpnet.checks import Check
from xpnet.errors import ConfigError
from xpnet.train.settings import Settings

__all__ = ["OfSettings", "OfSetup", "OfState", "takes_settings"]

Kind = TypeVar("Kind", bound=type)
_OF_ARRAYS = ("backend", "dtype", "precision")  # the trained ones have theirs


class OfState:
    """Attribute that is the state's attribute of the same name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else getattr(trainer.state, self.name)

    def __set__(self, trainer: Any, value: Any) -> None:
        setattr(trainer.state, self.name, value)


class OfSetup(OfState):
    """Attribute for a part of the setup; a new value is checked as by the constructor."""

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else getattr(trainer.setup, self.name)

    def __set__(self, trainer: Any, value: Any) -> None:
        if self.name in _OF_ARRAYS and trainer.state.variables is not None:
            raise ConfigError(
                f"{self.name}: expected no other one for a trainer that has been trained, found {value!r}; "
                f"save it, and load it with that {self.name}"
            )
        trainer.setup = self._changed(trainer.setup, value)

    def _changed(self, setup: Any, value: Any) -> Any:
        return dataclasses.replace(setup, **{self.name: value})


class OfSettings(OfSetup):
    """Attribute for a setting; a new value is checked as by the constructor."""

    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else getattr(trainer.setup.settings, self.name)

    def _changed(self, setup: Any, value: Any) -> Any:
        return setup.changed(**{self.name: value})


def takes_settings(settings: type[Settings]) -> Any:
    """Return a decorator of classes whose constructor takes settings as ``**settings``.

    Each setting becomes an attribute, a keyword of the signature, and an entry of the docstring, where that
    says ``<settings>``.
    """
    fields = dataclasses.fields(settings)

    def decorate(kind: Kind) -> Kind:
        for field in fields:
            attribute = OfSettings()
            attribute.__set_name__(kind, field.name)
            setattr(kind, field.name, attribute)
        known = inspect.signature(kind.__init__)  # type: ignore[misc]
        keywords = [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
            for f in fields
        ]
        own = [p for p in known.parameters.values() if p.kind is not p.VAR_KEYWORD]
        kind.__init__.__signature__ = known.replace(parameters=own + keywords)  # type: ignore[misc]
        entries = (f"{f.name}: {f.metadata['help']}{_choices(f.metadata['check'])}" for f in fields)
        shape: Any = {"width": 110, "initial_indent": " " * 8, "subsequent_indent": " " * 12}
        lines = "\n".join(textwrap.fill(entry, **shape) for entry in entries)
        kind.__doc__ = (kind.__doc__ or "").replace("        <settings>", lines)
        return kind

    return decorate


def _choices(check: Check) -> str:
    known = [] if check.choices is None else [f'``"{name}"``' for name in check.choices()]
    return f" One of {', '.join(known)}." if known else ""
