"""Variables before the first step: drawn by the model's initializers, and adapted to rows if these say so."""

from __future__ import annotations

from typing import Any

from xpnet import rng
from xpnet.backends import array_namespace
from xpnet.nn import Variables
from xpnet.train.identical_units import warn_of_identical_units
from xpnet.train.setup import Setup

__all__ = ["initial_variables"]

_ROWS = 4096  # that initializers see, at the most


def initial_variables(setup: Setup, input_shape: tuple[int, ...], X: Any = None) -> Variables:
    """Return fresh variables of the setup's model on its device; log a warning of units that begin alike.

    Args:
        setup: with the seed.
        input_shape: of a row of inputs.
        X: training rows on the device, for initializers that depend on data: some of them, drawn by the seed.
            None: these initializers only draw.
    """
    model, seed, home = setup.model, setup.settings.seed, setup.backend
    variables = model.init(seed, input_shape, home, setup.dtype)
    with home.activate():
        if X is not None and model.needs_data:
            if X.shape[0] > _ROWS:
                some = rng.permutation(setup.key.fold("initial rows"), X.shape[0])[:_ROWS]
                X = array_namespace(X).take(X, home.asarray(some), axis=0)
            variables = model.init_from_data(variables, home.to_host(X), seed)
        if not setup.settings.gradient_noise:  # which is another one for each unit
            warn_of_identical_units(model, variables.params)
    return variables
