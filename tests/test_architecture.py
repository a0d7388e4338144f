"""How the package is built: floors, no cycles, no array library where none belongs, a light import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import xpnet

ROOT = Path(xpnet.__file__).parent
# A file imports only from floors below its own, or from its own folder.
FLOORS = {
    "errors": 0, "checks": 0, "files": 0, "backends": 0, "blas": 0,
    "containers": 1, "parameters": 1, "rng": 1,
    "autodiff.rules": 2,
    "autodiff": 3,
    "program": 4,
    "nn": 5, "losses": 5,
    "optim": 6, "data": 6,
    "train": 7,
    "prune": 8,
    "cli": 9, "estimators": 9,
    "__init__": 10, "__main__": 10,
}  # fmt: skip
ARRAY_LIBRARIES = {
    "array_api_strict", "cupy", "cupyx", "dask", "jax", "jaxlib", "mlx", "numba", "numpy", "scipy", "sparse",
    "torch",
}  # fmt: skip
AGNOSTIC = ("nn", "losses", "optim", "autodiff.rules")
HEAVY = {
    "cupy", "jax", "matplotlib", "mpi4py", "numba", "numpy", "onnx", "pandas", "polars", "pyarrow", "rich",
    "scipy", "sklearn", "torch", "typer", "array_api_compat", "array_api_strict", "safetensors",
}  # fmt: skip

FILES = sorted(ROOT.rglob("*.py"))


def _module(path: Path) -> str:
    """Return the dotted name below the package, such as ``rules.linalg``; ``__init__`` for its own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {_module(path): path for path in FILES}


def _part(module: str) -> str:
    """Return the longest name in the table of floors that ``module`` belongs to."""
    pieces = module.split(".")
    for end in range(len(pieces), 0, -1):
        if ".".join(pieces[:end]) in FLOORS:
            return ".".join(pieces[:end])
    pytest.fail(f"xpnet/{module.replace('.', '/')} is on no floor: enter it into FLOORS")


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _statements(tree: ast.AST, *, inside_functions: bool) -> Iterator[ast.stmt]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt) and _is_type_checking(node):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) and not inside_functions:
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        yield from _statements(node, inside_functions=inside_functions)


def _imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, also what is a name inside a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _statements(tree, inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written absolutely"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _own_imports(path: Path, *, inside_functions: bool = True) -> set[str]:
    """Return the modules of the package that a file imports."""
    found = set()
    for name in _imports(path, inside_functions=inside_functions):
        if name == "xpnet" or name.startswith("xpnet."):
            pieces = name.split(".")[1:]
            while pieces and ".".join(pieces) not in MODULES:
                pieces.pop()
            found.add(".".join(pieces) or "__init__")
    return found


def test_the_checks_below_see_the_files() -> None:
    assert {"errors", "backends.probe", "autodiff.rules.linalg", "nn.dense", "__init__"} <= set(MODULES)
    assert "autodiff.rules" in _own_imports(ROOT / "autodiff" / "tracer.py")


def _import_error(module: str) -> str | None:
    """Return why a module cannot be imported, unless a package that it needs is not installed."""
    try:
        importlib.import_module("xpnet" if module == "__init__" else f"xpnet.{module}")
    except ImportError as error:
        needed = (error.name or "").partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and needed != "xpnet" and find_spec(needed) is None
        return None if absent else f"xpnet.{module}: {error}"
    return None


def test_every_module_can_be_imported() -> None:
    """Pytest is told to skip the examples of those that cannot, for the sake of packages that are absent."""
    assert not list(filter(None, map(_import_error, MODULES)))


@pytest.mark.parametrize("module", MODULES)
def test_a_file_imports_only_from_floors_below(module: str) -> None:
    mine = _part(module)
    for other in _own_imports(MODULES[module]):
        theirs = _part(other)
        below = FLOORS[theirs] < FLOORS[mine]
        # On the ground floor everything may use the errors; the faces may use the package as its users do.
        allowed = below or theirs in (mine, "errors") or (FLOORS[mine] == 9 and theirs == "__init__")
        assert allowed, (
            f"xpnet.{module} (floor {FLOORS[mine]}) imports xpnet.{other} (floor {FLOORS[theirs]})"
        )


def test_no_import_cycles() -> None:
    edges = {m: _own_imports(path, inside_functions=False) - {m} for m, path in MODULES.items()}
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> None:
        if module in done:
            return
        assert module not in path, f"import cycle: {' -> '.join([*path[path.index(module) :], module])}"
        path.append(module)
        for other in sorted(edges[module]):
            visit(other)
        path.pop()
        done.add(module)

    for module in sorted(edges):
        visit(module)


@pytest.mark.parametrize("module", [m for m in MODULES if _part(m) in AGNOSTIC])
def test_models_losses_optimizers_and_rules_import_no_array_library(module: str) -> None:
    """They call functions of their arguments' namespace; array_api_compat may be asked for it."""
    imported = {name.split(".")[0] for name in _imports(MODULES[module])}
    assert not imported & ARRAY_LIBRARIES
    wrapped = {name for name in _imports(MODULES[module]) if name.startswith("array_api_compat.")}
    assert not {name.split(".")[1] for name in wrapped} & ARRAY_LIBRARIES


@pytest.mark.parametrize("module", MODULES)
def test_no_file_loads_code_from_data(module: str) -> None:
    """Nothing that could run code from a file is imported or switched on."""
    imported = {name.split(".")[0] for name in _imports(MODULES[module])}
    assert not imported & {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            # Lowerings run code that they have just written from a program in memory.
            assert node.func.id != "eval"
            assert node.func.id != "exec" or module.startswith("program.lowerings.")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_exports(module: str) -> None:
    if module in ("__main__",):
        return
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"xpnet.{module} has no docstring"
    names = [t.id for n in tree.body if isinstance(n, (ast.Assign, ast.AnnAssign)) for t in _targets(n)]
    assert "__all__" in names, f"xpnet.{module} has no __all__"


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("module", MODULES)
def test_files_can_be_seen_across(module: str) -> None:
    lines = len(MODULES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= 500, f"xpnet.{module} has {lines} lines; split it"


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_importing_the_package_loads_no_heavy_one() -> None:
    assert not _loaded_by("import xpnet") & HEAVY


@pytest.mark.parametrize("name", ["autodiff", "nn", "losses", "optim", "data", "rng"])
def test_parts_load_no_more_than_numpy_and_the_standard(name: str) -> None:
    loaded = _loaded_by(f"import xpnet; xpnet.{name}")
    assert not loaded & (HEAVY - {"numpy", "array_api_compat"})


def test_names_of_the_package() -> None:
    for name in xpnet.__all__:
        assert getattr(xpnet, name) is not None
    assert set(xpnet.__all__) <= set(dir(xpnet))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xpnet.nothing
