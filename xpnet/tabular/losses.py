"""Loss of a run: one of the package by name, or code of the user's own.

Code is run only where the command line names it, ``--loss file.py:function`` or ``--loss module:function``,
and never because a file does: neither a configuration nor a run folder nor a checkpoint brings its own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from xpnet.autodiff import value_and_grad
from xpnet.data import Encoder
from xpnet.errors import ConfigError, XpnetError, suggest
from xpnet.losses import get
from xpnet.tabular.settings import Settings
from xpnet.train import Trainer, rows
from xpnet.train.targets import is_classifier, kind_of, mean_loss, name_of

__all__ = ["chosen_loss", "class_weights", "import_loss", "is_code", "loss_of_run", "try_loss"]

_TRIED = 3  # rows


def is_code(loss: str | None) -> bool:
    """Whether a setting names code of the user's own rather than a loss of the package."""
    return loss is not None and ":" in loss


def import_loss(spec: str | None) -> Callable[..., Any] | None:
    """Run the code that a flag names and return the loss in it; None where it names no code.

    Args:
        spec: text of the flag ``--loss``: ``file.py:function``, ``module:function`` or a name. A module is
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
            f"--loss {spec}: its code cannot be run ({type(error).__name__}: {error}); correct it"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        known = [n for n, thing in vars(module).items() if callable(thing) and not n.startswith("_")]
        raise ConfigError(f"--loss {spec}: '{place}' has no function '{name}'{suggest(name, known)}")
    if not callable(found) or isinstance(found, type):
        raise ConfigError(f"--loss {spec}: expected a function, found {found!r}; name a loss")
    return get(found)


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"--loss: there is no file '{path}'; expected file.py:function")
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
        own: what `import_loss` made of the command line.

    Raises:
        ConfigError: the settings name code and the command line does not, or options that the loss lacks.
    """
    if not is_code(settings.loss):
        return get({"name": settings.loss, **(settings.loss_option or {})})
    if own is None:
        raise ConfigError(
            f"the loss '{settings.loss}' is code of your own, which is run only where the command line names "
            f"it; add --loss {settings.loss}"
        )
    if settings.loss_option:
        raise ConfigError(
            f"--loss-option: expected a loss of xpnet, found {settings.loss}; write its options into its code"
        )
    return own


def loss_of_run(settings: Settings, spec: str | None) -> Callable[..., Any] | None:
    """Return the user's own loss of a run, given again on the command line; None where it has none.

    Raises:
        ConfigError: it was not given again, or something was and the run has no such loss.
    """
    if is_code(settings.loss):
        return chosen_loss(settings, import_loss(spec))
    if spec is not None:
        raise ConfigError(
            f"--loss: expected none for a run whose loss is {settings.loss}, found {spec}; leave it out: it "
            "is for runs whose loss is code of your own"
        )
    return None


def try_loss(spec: str, trainer: Trainer, X: Any, y: Any) -> None:
    """Try a loss of the user's own on a few rows, before anything is written or trained.

    Raises:
        ConfigError: it fails, gives no mean, or cannot be differentiated.
    """
    tried = rows.prepare(trainer.setup, X[:_TRIED], y[:_TRIED], width=trainer.state.input_shape)
    shape = (tried.X.shape[0], *trainer.model.output_shape(tuple(tried.X.shape[1:])))
    home = trainer.backend
    try:
        with home.activate():
            zeros = home.xp.zeros(shape, dtype=tried.X.dtype, device=home.device)
            value_and_grad(lambda z: mean_loss(trainer.loss, z, tried.y))(zeros)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"--loss {spec}: it fails on predictions of shape {shape} and targets of shape "
            f"{tuple(tried.y.shape)} ({type(error).__name__}: {error}); correct it"
        ) from error


def class_weights(
    settings: Settings, encoder: Encoder, loss: Callable[..., Any]
) -> dict[int, float] | str | None:
    """Return ``--class-weight`` in the form of `Trainer.fit`; classes without a weight have 1.

    Raises:
        ConfigError: a target that has no classes, several targets, or a class that there is not.
    """
    given = settings.class_weight
    if given == "none":
        return None
    if not is_classifier(loss) or len(encoder.targets) > 1:
        found = f"{len(encoder.targets)} targets" if len(encoder.targets) > 1 else f"the loss {name_of(loss)}"
        raise ConfigError(
            f"--class-weight: expected one target with classes, found {found}; leave it out, or train a "
            "classifier of one target"
        )
    if isinstance(given, str):
        return given
    names = [str(name) for name in encoder.classes]
    for name in given:
        if name not in names:
            raise ConfigError(f"--class-weight: there is no class '{name}'{suggest(name, names)}")
    weights = [given.get(name, 1.0) for name in names]
    labels = (-1, 1) if kind_of(loss) == "signs" else range(len(names))
    return dict(zip(labels, weights, strict=True))
