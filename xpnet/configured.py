"""Checked hyperparameters: frozen dataclasses that validate themselves and go to JSON and back.

A class says of each field what it may hold, and the base class does the rest::

    @dataclass(frozen=True)
    class RMSProp(Optimizer, name="rmsprop"):
        rho: float = field(default=0.99, metadata=FRACTION)
        epsilon: float = field(default=1e-8, metadata=POSITIVE)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from xpnet.aliases import ALIASES
from xpnet.checks import count, flag, fraction, meant, not_negative, positive
from xpnet.errors import ConfigError, suggest

__all__ = ["COUNT", "FLAG", "FRACTION", "NOT_NEGATIVE", "POSITIVE", "Configured", "chosen"]


# What a field may hold, as metadata for ``dataclasses.field``.
POSITIVE = {"check": positive}
NOT_NEGATIVE = {"check": not_negative}
FRACTION = {"check": fraction}
COUNT = {"check": count}
FLAG = {"check": flag}


class Configured:
    """Base of classes that are known by a name and whose fields are their whole configuration.

    ``class Adam(Optimizer, name="adam")`` enters the class in the table of its family, so that
    names in configurations and on the command line find it; a user's own class likewise. A class
    without ``name=`` is used as an object only.
    """

    name: ClassVar[str | None] = None
    family: ClassVar[str] = "configured object"
    example: ClassVar[str] = "an object"
    known: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, *, name: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = name
        if name is None:
            return
        if name != name.lower():
            raise ConfigError(
                f"{cls.family} {cls.__name__}: expected a lower-case name, found {name!r}; change it"
            )
        holder = cls.known.get(name)
        # The same definition run once more (a notebook cell) replaces the earlier one.
        if holder and (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ConfigError(
                f"{cls.family} {cls.__name__}: the name {name!r} already belongs to "
                f"{holder.__module__}.{holder.__qualname__}; choose another"
            )
        cls.known[name] = cls

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            check = field.metadata.get("check")
            if check is not None:
                usual = field.default
                remedy = "correct it"
                if usual is not dataclasses.MISSING:
                    remedy += f", or leave it out for {usual!r}"
                checked = check(f"{type(self).__name__}: {field.name}", getattr(self, field.name), remedy)
                object.__setattr__(self, field.name, checked)  # the dataclass is frozen

    def to_config(self) -> dict[str, Any]:
        """Return the name and all fields as plain JSON types; `from_config` reads them back.

        Raises:
            ConfigError: the class has no name, or a field holds what JSON cannot (a function).
        """
        if self.name is None:
            raise ConfigError(
                f"{type(self).__name__} has no name under which it could be found again; define it as "
                f"class {type(self).__name__}(..., name='...')"
            )
        config: dict[str, Any] = {"name": self.name}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, Configured):
                value = value.to_config()
            elif not isinstance(value, (float, int, str, type(None))):
                raise ConfigError(
                    f"{type(self).__name__}: {field.name} = {value!r} cannot be written to a configuration; "
                    "use a number or a schedule of xpnet.optim, or define your own as a frozen dataclass: "
                    "class Mine(xpnet.optim.Schedule, name='mine')"
                )
            config[field.name] = value
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the object that ``{"name": ..., **fields}`` describes; missing fields take their default.

        Raises:
            ConfigError: no or an unknown name, an unknown or missing field, or a value not allowed.
        """
        if not isinstance(config, dict) or "name" not in config:
            raise ConfigError(
                f"{cls.family}: expected a table with 'name' and options, such as "
                f"{{'name': {next(iter(cls.known), '...')!r}}}, found {config!r}"
            )
        options = dict(config)
        made = cls.named(options.pop("name"))
        fields = {field.name: field for field in dataclasses.fields(made)}  # type: ignore[arg-type]
        for option in options:
            if option not in fields:
                raise ConfigError(f"{made.__name__} has no option {option!r}{suggest(option, fields)}")
        for name, field in fields.items():
            if name not in options and field.default is field.default_factory is dataclasses.MISSING:
                raise ConfigError(
                    f"{made.__name__} needs the option {name!r}, found {sorted(options)}; add it"
                )
        return made(**options)

    @classmethod
    def named(cls, name: Any) -> type[Self]:
        """Return the class of this family that is known as ``name``, in any spelling."""
        known = meant(name, cls.known, ALIASES.get(cls.family))
        if known is None:
            raise ConfigError(f"unknown {cls.family} {name!r}{suggest(name, cls.known)}")
        found = cls.known[known]
        if not issubclass(found, cls):
            raise ConfigError(f"expected a configuration of {cls.__name__}, found one of {found.__name__}")
        return found


def chosen(families: Sequence[type[Configured]], spec: Any, options: dict[str, Any]) -> Any:
    """Return the object of one of the families given by its name, its table, or itself.

    Args:
        families: abstract classes; messages speak of the first one.
        spec: an object, which is returned as it is; a name in any spelling; or a table with ``"name"``.
        options: fields, with a name or a table, over whose own they win.

    Raises:
        ConfigError: unknown name or option, a value not allowed, or options beside an object.
    """
    label = families[0].family
    known = [name for members in families for name in members.known]
    if isinstance(spec, tuple(families)):
        if options:
            raise ConfigError(
                f"{label}: options {sorted(options)} go with a name, found the object {spec!r}; "
                f"give them to {type(spec).__name__}(...) itself"
            )
        return spec
    if not isinstance(spec, (str, dict)):
        raise ConfigError(
            f"{label}: expected a name, a table or {families[0].example}, found {spec!r}"
            f"{suggest(getattr(spec, '__name__', spec), known)}"
        )
    config = {**options, "name": spec} if isinstance(spec, str) else {**spec, **options}
    if "name" in config:
        name = meant(config["name"], known, ALIASES.get(label))
        if name is None:
            raise ConfigError(f"unknown {label} {config['name']!r}{suggest(config['name'], known)}")
        config["name"] = name
    fits = (members for members in families if config.get("name") in members.known)
    return next(fits, families[0]).from_config(config)
