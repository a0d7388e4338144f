"""Facts on the BLAS kernel, and that only a process that has not loaded NumPy can choose one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from xpnet import blas

FLAGS = "flags\t\t: fpu avx2 avx512f avx512dq avx512cd avx512bw avx512vl"
AMD = f"processor: 0\nvendor_id\t: AuthenticAMD\n{FLAGS}\n"


@pytest.mark.parametrize(
    ("cpuinfo", "want"),
    [
        (AMD, "SkylakeX"),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), None),
        (AMD.replace("avx512bw ", ""), None),
        (AMD.replace("avx512f", "avx512fp16"), None),
        ("", None),
        ("Features : fp asimd", None),
    ],
)
def test_faster_kernel(cpuinfo: str, want: str | None) -> None:
    assert blas.faster_kernel(cpuinfo) == want


@pytest.mark.parametrize(
    ("cpuinfo", "want"),
    [
        (AMD, "AuthenticAMD"),
        ("vendor_id : GenuineIntel\n", "GenuineIntel"),
        ("Features : fp asimd", ""),
        ("", ""),
    ],
)
def test_vendor(cpuinfo: str, want: str) -> None:
    assert blas.vendor(cpuinfo) == want


def test_vendor_without_cpuinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_cpuinfo", str)
    for named, want in [
        ("Intel64 Family 6 Model 158 Stepping 10, GenuineIntel", "GenuineIntel"),
        ("arm", "arm"),
    ]:
        monkeypatch.setattr("platform.processor", lambda named=named: named)
        assert blas.vendor() == want


def test_this_machine_can_be_asked() -> None:
    assert blas.faster_kernel() in (None, "SkylakeX")
    assert isinstance(blas.vendor(), str)


def test_nothing_is_chosen_once_numpy_is_loaded() -> None:
    import numpy  # noqa: F401

    environ: dict[str, str] = {}
    assert blas.prefer_faster_kernel(environ) is None
    assert environ == {}


@pytest.mark.parametrize("given", [None, "Haswell"])
def test_a_fresh_process_chooses_and_respects_the_user(given: str | None) -> None:
    code = f"""
import sys
from xpnet import blas
blas.faster_kernel = lambda: "SkylakeX"
environ = {{}} if {given!r} is None else {{"OPENBLAS_CORETYPE": {given!r}}}
print(blas.prefer_faster_kernel(environ), environ["OPENBLAS_CORETYPE"], "numpy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    want = "SkylakeX SkylakeX False" if given is None else "None Haswell False"
    assert done.stdout.strip() == want


def test_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "faster_kernel", lambda: "SkylakeX")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    for active, good in (
        (["openblas 0.3 Haswell, 2 threads"], False),
        (["openblas 0.3 SkylakeX, 2 threads"], True),
    ):
        monkeypatch.setattr(blas, "active_kernels", lambda active=active: active)
        assert (blas.advice() is None) == good
    monkeypatch.setattr(blas, "active_kernels", list)  # as where threadpoolctl is not installed
    assert "OPENBLAS_CORETYPE=SkylakeX before Python starts" in (blas.advice() or "")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "skylakex")
    assert blas.advice() is None
    monkeypatch.setattr(blas, "faster_kernel", lambda: None)
    assert blas.advice() is None


def test_active_kernels_are_named() -> None:
    pytest.importorskip("threadpoolctl", reason="threadpoolctl is not installed")
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    assert all("threads" in line for line in blas.active_kernels())
