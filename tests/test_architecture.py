"""How the package is built: floors, no cycles, no array library where none belongs, a light import.

Each test looks at all files and lists all that is wrong.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest

import xpnet

ROOT = Path(xpnet.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
ARRAY_LIBRARIES = {
    "array_api_strict", "cupy", "cupyx", "dask", "jax", "jaxlib", "mlx", "numba", "numpy", "scipy", "sparse",
    "torch",
}  # fmt: skip
AGNOSTIC = ("nn", "losses", "optim", "autodiff.rules")
HEAVY = {
    "cupy", "jax", "matplotlib", "mpi4py", "numba", "numpy", "onnx", "pandas", "polars", "pyarrow", "rich",
    "scipy", "sklearn", "torch", "typer", "array_api_compat", "array_api_strict", "safetensors",
}  # fmt: skip


def _module(path: Path) -> str:
    """Return the dotted name below the package, such as ``rules.linalg``; ``__init__`` for its own."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}


@functools.cache
def _text(module: str) -> str:
    return MODULES[module].read_text(encoding="utf-8")


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_text(module))


def _imports(module: str) -> Iterator[tuple[str, int]]:
    """Yield the dotted name of everything that a file imports, and the line: wherever and for whatever."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):  # "." for a relative one
            yield from ((f"{node.module or '.'}.{alias.name}", node.lineno) for alias in node.names)


def _packages(module: str) -> Iterator[str]:
    """Yield the packages that a module is in, which are imported before it."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


@functools.cache
def _own_imports(module: str) -> dict[str, int]:
    """Return the modules of the package that a file imports, with lines.

    With a file its packages are imported. Those that the importing file is in do not count, for they import
    their files, unless it asks for one of them itself.
    """
    found: dict[str, int] = {}
    for name, line in _imports(module):
        if name.partition(".")[0] != "xpnet":
            continue
        other = name.removeprefix("xpnet").removeprefix(".")
        while other and other not in MODULES:
            other = other.rpartition(".")[0]
        found.setdefault(other or "__init__", line)
        for package in _packages(other):
            if package not in _packages(module):
                found.setdefault(package, line)
    found.pop(module, None)
    return found


def _shown(module: str, other: str) -> str:
    return f"xpnet.{module}, line {_own_imports(module)[other]}, imports xpnet.{other}"


def _assert_none(failures: Iterator[str]) -> None:
    """Fail with all of them."""
    found = sorted(set(failures))
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_the_checks_below_see_the_files_and_what_they_import() -> None:
    assert {"errors", "backends.probe", "autodiff.rules.linalg", "nn.dense", "__init__"} <= set(MODULES)
    assert "autodiff.rules" in _own_imports("autodiff.tracer")
    assert "train" in _own_imports("__init__")  # for types
    assert "program.lowerings.base" in _own_imports("train.settings")  # in a function
    assert {"autodiff", "autodiff.graphs"} <= _own_imports("program.program").keys()  # with files in them


def _import_error(module: str) -> str:
    """Return why a module cannot be imported; "" if it can, or a package that it needs is not installed."""
    try:
        importlib.import_module("xpnet" if module == "__init__" else f"xpnet.{module}")
    except ImportError as error:
        needed = (error.name or "").partition(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and needed != "xpnet" and find_spec(needed) is None
        return "" if absent else str(error)
    return ""


def test_every_module_can_be_imported() -> None:
    """Pytest is told to skip the examples of those that cannot, for the sake of packages that are absent."""
    one_of = {_import_error(module): module for module in MODULES}  # modules that fail for the same reason
    _assert_none(f"xpnet.{module}: {error}" for error, module in one_of.items() if error)


# ---- floors and cycles


def _floors() -> dict[str, int]:
    """Return the floor of each part of the package, from the page's table; the package itself is on top."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = [(name, int(floor)) for floor, cell in rows for name in re.findall(r"`(.+?)`", cell)]
    parts = {name.removesuffix(".py").strip("/").replace("/", "."): floor for name, floor in names}
    top = max(parts.values()) + 1
    return {**parts, "__init__": top, "__main__": top}


FLOORS = _floors()


def _part(module: str) -> str:
    """Return the longest name in the table of floors that a module belongs to, "" if there is none."""
    return next((part for part in (module, *_packages(module)) if part in FLOORS), "")


def _is_allowed(mine: str, theirs: str) -> bool:
    """True if a file of one part may import from another one."""
    # On the ground floor everything may use the errors, and these the text that they show; the faces may use
    # the package as its users do.
    user = theirs == "__init__" and FLOORS[mine] == FLOORS["__init__"] - 1
    return FLOORS[theirs] < FLOORS[mine] or theirs in (mine, "errors", "text") or user


def test_every_file_is_on_a_floor() -> None:
    _assert_none(f"xpnet.{module} is not in the page's table" for module in MODULES if not _part(module))
    _assert_none(f"{part} is in the table and not in xpnet" for part in FLOORS.keys() - MODULES.keys())


def test_a_file_imports_only_from_floors_below() -> None:
    _assert_none(
        f"{_shown(module, other)}: floor {FLOORS[_part(module)]} and floor {FLOORS[_part(other)]}"
        for module in MODULES
        for other in _own_imports(module)
        if not _is_allowed(_part(module), _part(other))
    )


def _reached(module: str, imports: Callable[[str], set[str]]) -> set[str]:
    """Return what a module imports, what that imports, and so on."""
    found: set[str] = set()
    new = imports(module)
    while new:
        found |= new
        new = set().union(*map(imports, new)) - found
    return found


def _imports_to_follow(module: str) -> set[str]:
    """Return what a module imports, but for what is wrong already."""
    return {other for other in _own_imports(module) if _is_allowed(_part(module), _part(other))}


def test_no_import_cycles() -> None:
    """Between files, imports for types and in functions included: what needs each other is one thing."""
    reached = {module: _reached(module, _imports_to_follow) for module in MODULES}
    _assert_none(
        f"{_shown(module, other)}, which leads back to it"
        for module in MODULES
        for other in _imports_to_follow(module)
        if module in reached[other]
    )


# ---- files


def test_imports_are_written_absolutely() -> None:
    _assert_none(
        f"xpnet.{module}, line {node.lineno}"
        for module in MODULES
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.ImportFrom) and node.level
    )


def test_models_losses_optimizers_and_rules_import_no_array_library() -> None:
    """They call functions of their arguments' namespace; array_api_compat may be asked for it."""
    _assert_none(
        f"xpnet.{module}, line {line}, imports {name}"
        for module in MODULES
        if _part(module) in AGNOSTIC
        for name, line in _imports(module)
        if name.removeprefix("array_api_compat.").partition(".")[0] in ARRAY_LIBRARIES
    )


def test_no_file_loads_code_from_data() -> None:
    """Nothing that could run code from a file is imported or switched on."""
    _assert_none(
        f"xpnet.{module}, line {line}: {name}" for module in MODULES for name, line in _risks(module)
    )


def _risks(module: str) -> Iterator[tuple[str, int]]:
    for name, line in _imports(module):
        if name.partition(".")[0] in {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}:
            yield name, line
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.keyword):
            risk = node.arg == "allow_pickle" and ast.unparse(node.value) != "False"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            # Lowerings run code that they have just written from a program in memory.
            written = node.func.id == "exec" and module.startswith("program.lowerings.")
            risk = node.func.id in ("eval", "exec") and not written
        else:
            continue
        if risk:
            yield ast.unparse(node), node.lineno


def test_every_module_has_a_docstring_and_says_what_it_exports() -> None:
    listed = [module for module in MODULES if module != "__main__"]
    _assert_none(f"xpnet.{name} has no docstring" for name in listed if not ast.get_docstring(_tree(name)))
    _assert_none(f"xpnet.{name} has no __all__" for name in listed if "__all__" not in _assigned(name))


def _assigned(module: str) -> Iterator[str]:
    """Yield the names of a module's variables."""
    for node in _tree(module).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def test_the_command_line_is_thin() -> None:
    """Flags, messages and exit codes; what knows tables, models and runs is below it."""
    lines = {module: len(_text(module).splitlines()) for module in MODULES if _part(module) == "cli"}
    assert sum(lines.values()) <= 2600, lines


def test_only_the_command_line_imports_its_packages() -> None:
    """But for the bar of progress, which does without them where they are not."""
    _assert_none(
        f"xpnet.{module}, line {line}, imports {name}"
        for module in MODULES
        if _part(module) != "cli" and module != "train.progress"
        for name, line in _imports(module)
        if name.partition(".")[0] in {"click", "rich", "typer"}
    )


def test_only_the_command_line_spells_flags() -> None:
    """What is below it names settings by `errors.use`, which each face words, and its docstrings no flags."""
    flags = re.compile(rf"(?<![\w(-])\(?--(?:no-)?({'|'.join(sorted(_flags(), key=len, reverse=True))})\b")
    _assert_none(
        f"xpnet.{module}, line {node.lineno}: {found[0].lstrip('(')}"
        for module in MODULES
        if _part(module) != "cli"
        for node in ast.walk(_tree(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for found in flags.finditer(node.value)
    )


def _flags() -> set[str]:
    from xpnet.cli import app

    commands = app.known_commands().values()
    parameters = [spelling for command in commands for p in command.parameters for spelling in p.spellings]
    return {p.name for p in parameters if p.kind not in ("argument", "optional", "many")}


def test_files_can_be_seen_across() -> None:
    lines = {module: len(_text(module).splitlines()) for module in MODULES}
    _assert_none(f"xpnet.{name} has {count} lines; split it" for name, count in lines.items() if count > 500)


# ---- what importing loads


def _loaded_by(statement: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("name", ["xpnet", "xpnet.train.settings", "xpnet.runs.settings", "xpnet.cli.app"])
def test_importing_loads_no_heavy_package(name: str) -> None:
    assert not _loaded_by(f"import {name}") & HEAVY


@pytest.mark.parametrize("name", ["autodiff", "nn", "losses", "optim", "data", "rng"])
def test_parts_load_no_more_than_numpy_and_the_standard(name: str) -> None:
    loaded = _loaded_by(f"import xpnet; xpnet.{name}")
    assert not loaded & (HEAVY - {"numpy", "array_api_compat"})


@pytest.mark.parametrize("package", [xpnet, xpnet.train], ids=lambda package: package.__name__)
def test_names_that_are_looked_up_on_first_use(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
