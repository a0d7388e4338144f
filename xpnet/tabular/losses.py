"""Loss of a run: one of the package by name, or code of the user's own.

Code is run only where a call or a command line names it, as ``file.py:function`` or ``module:function``,
and never because a file does: neither a configuration nor a run folder nor a checkpoint brings its own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from xpnet.autodiff import value_and_grad
from xpnet.data import Encoder
from xpnet.errors import ConfigError, XpnetError, suggest, use
from xpnet.losses import get
from xpnet.losses.registry import to_config
from xpnet.tabular.settings import Settings
from xpnet.train import Trainer, rows
from xpnet.train.members import outputs_of_model
from xpnet.train.targets import is_classifier, kind_of, mean_loss, name_of

__all__ = ["chosen_loss", "class_weights", "import_loss", "is_code", "loss_of_run", "named_loss", "try_loss"]

_TRIED = 3  # rows


def is_code(loss: str | None) -> bool:
    """Whether a setting names code of the user's own rather than a loss of the package."""
    return loss is not None and ":" in loss


def import_loss(spec: str | None) -> Callable[..., Any] | None:
    """Run the code that a flag names and return the loss in it; None where it names no code.

    Args:
        spec: as the command line names it: ``file.py:function``, ``module:function`` or a name. A module is
            looked for in the working folder too.

    Raises:
        ConfigError: there is no such file, module or function, or the code fails.
    """
    if spec is None or not is_code(spec):
        return None
    place, _, name = spec.rpartition(":")
    try:
        module = _run_file(Path(place)) if place.endswith(".py") else _run_module(place)
    except XpnetError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{use('loss', spec)}: its code cannot be run ({type(error).__name__}: {error}); correct it"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        known = [n for n, thing in vars(module).items() if callable(thing) and not n.startswith("_")]
        raise ConfigError(f"{use('loss', spec)}: '{place}' has no function '{name}'{suggest(name, known)}")
    if not callable(found) or isinstance(found, type):
        raise ConfigError(f"{use('loss', spec)}: expected a function, found {found!r}; name a loss")
    return get(found)


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{use('loss')}: there is no file '{path}'; expected file.py:function")
    name = f"xpnet_loss_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None  # for a file that ends in .py
    assert found.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(found)  # where classes in it look for it
    found.loader.exec_module(module)
    return module


def _run_module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed the path
            sys.path.remove("")


def chosen_loss(settings: Settings, own: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return the loss of settings in which ``auto`` has been replaced.

    Args:
        settings: with ``loss`` and ``loss_option``.
        own: what `import_loss` or the caller gave.

    Raises:
        ConfigError: the settings name code and the caller does not, or options that the loss lacks.
    """
    if not is_code(settings.loss):
        return get({"name": settings.loss, **(settings.loss_option or {})})
    if own is None:
        raise ConfigError(
            f"the loss '{settings.loss}' is code of your own, which is run only where it is named; "
            f"add {use('loss', settings.loss)}"
        )
    if settings.loss_option:
        raise ConfigError(
            f"{use('loss_option')}: expected a loss of xpnet, found {settings.loss}; write its options into "
            "its code"
        )
    return own


def loss_of_run(settings: Settings, spec: str | Callable[..., Any] | None) -> Callable[..., Any] | None:
    """Return the user's own loss of a run, given again by its place or itself; None where it has none.

    Raises:
        ConfigError: it was not given again, or something was and the run has no such loss.
    """
    if is_code(settings.loss):
        return chosen_loss(settings, get(spec) if callable(spec) else import_loss(spec))
    if spec is not None:
        raise ConfigError(
            f"{use('loss')}: expected none for a run whose loss is {settings.loss}, found {spec}; leave it "
            "out: it is for runs whose loss is code of your own"
        )
    return None


def named_loss(given: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[..., Any] | None]:
    """Return settings in which the loss has its name, and the loss where it is code of the user's own.

    Args:
        given: settings, with ``loss`` as a name, the place of code, or a function.

    Raises:
        ConfigError: the code fails, or a function has no name by which it can be asked for again.
    """
    settings, loss = dict(given), given.get("loss")
    if not callable(loss):
        return settings, import_loss(loss) if isinstance(loss, str) else None
    known = to_config(get(loss))
    if known is not None:
        options = dict(known) if isinstance(known, Mapping) else {"name": known}
        settings["loss"] = options.pop("name")
        return {**settings, **({"loss_option": options} if options else {})}, None
    place = f"{loss.__module__}:{getattr(loss, '__name__', '')}"
    if not place.rpartition(":")[2].isidentifier():
        raise ConfigError(
            f"{use('loss')}: expected a function with a name, found {loss!r}; define one by def"
        )
    return {**settings, "loss": place}, get(loss)


def try_loss(spec: str, trainer: Trainer, X: Any, y: Any) -> None:
    """Try a loss of the user's own on a few rows, before anything is written or trained.

    Raises:
        ConfigError: it fails, gives no mean, or cannot be differentiated.
    """
    tried = rows.prepare(trainer.setup, X[:_TRIED], y[:_TRIED], width=trainer.state.input_shape)
    shape = (tried.X.shape[0], outputs_of_model(trainer.model, tuple(tried.X.shape[1:])))
    home = trainer.backend
    try:
        with home.activate():
            zeros = home.xp.zeros(shape, dtype=tried.X.dtype, device=home.device)
            value_and_grad(lambda z: mean_loss(trainer.loss, z, tried.y))(zeros)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{use('loss', spec)}: it fails on predictions of shape {shape} and targets of shape "
            f"{tuple(tried.y.shape)} ({type(error).__name__}: {error}); correct it"
        ) from error


def class_weights(
    settings: Settings, encoder: Encoder, loss: Callable[..., Any]
) -> dict[int, float] | str | None:
    """Return the setting ``class_weight`` in the form of `Trainer.fit`; classes without a weight have 1.

    Raises:
        ConfigError: a target that has no classes, several targets, or a class that there is not.
    """
    given = settings.class_weight
    if given == "none":
        return None
    if not is_classifier(loss) or len(encoder.targets) > 1:
        found = f"{len(encoder.targets)} targets" if len(encoder.targets) > 1 else f"the loss {name_of(loss)}"
        raise ConfigError(
            f"{use('class_weight')}: expected one target with classes, found {found}; leave it out, or train "
            "a classifier of one target"
        )
    if isinstance(given, str):
        return given
    names = [str(name) for name in encoder.classes]
    for name in given:
        if name not in names:
            raise ConfigError(f"{use('class_weight')}: there is no class '{name}'{suggest(name, names)}")
    weights = [given.get(name, 1.0) for name in names]
    labels = (-1, 1) if kind_of(loss) == "signs" else range(len(names))
    return dict(zip(labels, weights, strict=True))
