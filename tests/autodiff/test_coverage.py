"""Every function of the standard (version 2025.12) has a rule, or no array to be differentiated."""

from __future__ import annotations

import pytest

from xpnet.autodiff.namespaces import namespace
from xpnet.autodiff.rules import RULES
from xpnet.backends import Backend

STANDARD: dict[str, str] = {
    "elementwise": """abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert
        bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh
        divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite isinf isnan
        less less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor
        maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder round
        sign signbit sin sinh sqrt square subtract tan tanh trunc""",
    "statistical": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "sorting": "argsort sort",
    "set": "isin unique_all unique_counts unique_inverse unique_values",
    "manipulation": """broadcast_arrays broadcast_shapes broadcast_to concat expand_dims flip moveaxis
        permute_dims repeat reshape roll squeeze stack tile unstack""",
    "indexing": "take take_along_axis",
    "linear algebra": "matmul matrix_transpose tensordot vecdot",
    "linear algebra extension": """linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eig
        linalg.eigh linalg.eigvals linalg.eigvalsh linalg.inv linalg.matmul linalg.matrix_norm
        linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose linalg.outer linalg.pinv
        linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals
        linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm""",
    "Fourier transform extension": """fft.fft fft.fftfreq fft.fftn fft.fftshift fft.hfft fft.ifft fft.ifftn
        fft.ifftshift fft.ihfft fft.irfft fft.irfftn fft.rfft fft.rfftfreq fft.rfftn""",
    "creation": """arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones
        ones_like tril triu zeros zeros_like""",
    "data types": "astype can_cast finfo iinfo isdtype result_type",
    "utility": "all any diff",
}  # fmt: skip
NAMES = {category: names.split() for category, names in STANDARD.items()}
ALL = [name for names in NAMES.values() for name in names]

# Functions of numbers and dtypes; from_dlpack refuses traced arrays, asarray passes them on.
WITHOUT_ARRAYS = {
    "arange", "asarray", "broadcast_shapes", "empty", "eye", "from_dlpack", "iinfo", "isdtype", "linspace",
    "ones", "zeros",
}  # fmt: skip
# Their results are not floating, or do not change in small steps.
CONSTANT = {
    "all", "any", "argmax", "argmin", "argsort", "bitwise_and", "bitwise_invert", "bitwise_left_shift",
    "bitwise_or", "bitwise_right_shift", "bitwise_xor", "can_cast", "ceil", "count_nonzero", "empty_like",
    "equal", "fft.fftfreq", "fft.rfftfreq", "finfo", "floor", "floor_divide", "greater", "greater_equal",
    "isfinite", "isin", "isinf", "isnan", "less", "less_equal", "linalg.matrix_rank", "logical_and",
    "logical_not", "logical_or", "logical_xor", "nextafter", "nonzero", "not_equal", "ones_like",
    "result_type", "round", "searchsorted", "signbit", "trunc", "zeros_like",
}  # fmt: skip


def _rule_name(name: str) -> str:
    """The functions that lie both in the extension and beside it have one rule: linalg.matmul is matmul."""
    short = name.removeprefix("linalg.")
    return short if short in NAMES["linear algebra"] else name


@pytest.mark.parametrize("name", ALL)
def test_every_function_of_the_standard_has_a_rule_or_takes_no_arrays(name: str) -> None:
    assert (_rule_name(name) in RULES) != (name in WITHOUT_ARRAYS)


@pytest.mark.parametrize("name", sorted(set(ALL) - WITHOUT_ARRAYS))
def test_only_what_changes_in_steps_is_constant(name: str) -> None:
    rule = RULES[_rule_name(name)]
    assert rule.constant == (name in CONSTANT)
    assert rule.constant or rule.composed or any(rule.pulls)


@pytest.mark.parametrize("category", NAMES)
def test_the_namespace_has_every_function(category: str, backend: Backend) -> None:
    """Also those without a rule; what the library itself lacks is not made up."""
    space = namespace(backend.xp, lift=True)
    for name in NAMES[category]:
        extension, _, last = name.rpartition(".")
        plain, traced = (getattr(x, extension) if extension else x for x in (backend.xp, space))
        if hasattr(plain, last):
            assert callable(getattr(traced, last))


def test_the_list_is_that_of_the_strict_library() -> None:
    """array_api_strict has the standard's functions and no others but these."""
    strict = pytest.importorskip("array_api_strict", reason="array_api_strict is not installed")
    functions = {
        name
        for name in strict.__all__
        if callable(getattr(strict, name)) and not isinstance(getattr(strict, name), type)
    }
    own = {"ArrayAPIStrictFlags", "get_array_api_strict_flags", "reset_array_api_strict_flags",
           "set_array_api_strict_flags"}  # fmt: skip
    named = {name for name in functions if not name.startswith("__")}
    extensions = {f"{e}.{name}" for e in ("linalg", "fft") for name in getattr(strict, e).__all__}
    unlisted = {"linalg.eig", "linalg.eigvals"}  # it has them, and leaves them out of linalg.__all__
    assert set(ALL) == (named | extensions | unlisted) - own
