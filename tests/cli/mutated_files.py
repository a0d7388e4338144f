"""Mutated files of each format, read as a command reads them: refused, or the same predictions, or said.

``python -m tests.cli.mutated_files 100000`` reads so many, prints how many were refused, and stops at the
first that is a fault; the suite reads some hundred.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from tests.cli.conftest import flowers
from xpnet.cli import main, summaries
from xpnet.data import read_table
from xpnet.errors import XpnetError
from xpnet.runs import open as open_run
from xpnet.runs import prediction, pruning, resume

SECONDS = 2.0
MEMORY = 200 * 2**20  # bytes, and ten times the file

# What no reading of a file may do, as Python's audit events call it.
_FORBIDDEN = (
    "pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "socket.connect", "socket.bind", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link",
    "os.symlink", "os.chmod", "os.truncate",
)  # fmt: skip
_OWN_CODE = (
    "<xpnet",
    "<frozen",
    sys.prefix,
    sys.base_prefix,
    str(Path(xpnet.__file__).parent),
)  # imports, lowered
_watched: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event in _FORBIDDEN or (event == "open" and _writes(arguments)):
        _watched.append(f"{event} {arguments}")
    elif event == "exec" and not arguments[0].co_filename.startswith(_OWN_CODE):
        _watched.append(f"exec of {arguments[0].co_filename}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, _, flags = arguments
    return path != os.devnull and (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) != 0


class Accepted(Exception):  # noqa: N818  # no error
    """A command has read all of its files and would begin to work."""


def _accept(*arguments: Any, **options: Any) -> None:
    raise Accepted


class Bench:
    """A run and an interrupted pruning of it, whose files are mutated one at a time.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path):
        self.table, self.run, self.part = folder / "flowers.csv", folder / "run", folder / "part"
        self.table.write_text(flowers())
        numbers = np.arange(24.0).reshape(12, 2)
        np.savez(folder / "t.npz", X=numbers, y=np.arange(12))
        np.savez_compressed(folder / "c.npz", X=numbers, name=np.array(["a"] * 12))
        np.save(folder / "t.npy", numbers)
        fast = ["--epochs", "2", "--hidden", "4", "--backend", "numpy", "--quiet", "--compile", "numpy"]
        assert main(["train", str(self.table), "--target", "kind", "--out", str(self.run), *fast]) == 0
        brief = ["--sparsity", "0.5", "--rounds", "2", "--epochs", "1", "--tolerance", "none", "--quiet"]
        replace, seen = os.replace, []

        def stopping(source: Any, target: Any) -> None:
            seen.append(Path(target).name)
            if seen.count("pruning.json") == 2:
                raise KeyboardInterrupt
            replace(source, target)

        os.replace = stopping  # type: ignore[assignment]
        try:
            assert main(["prune", str(self.run), "--out", str(self.part), *brief]) == 130
        finally:
            os.replace = replace
        assert (self.part / "pruning.json").exists()
        self.unfinished = Path(shutil.copytree(self.run, folder / "unfinished"))
        (self.unfinished / "results.json").unlink()
        self.cases: list[tuple[Path, Callable[[], Any]]] = [
            *(
                (self.run / name, self.predict)
                for name in ("config.toml", "encoder.json", "environment.json")
            ),
            (self.unfinished / "config.toml", self.resume),
            (self.unfinished / "environment.json", self.resume),
            (self.run / "encoder.json", self.evaluate),
            (self.run / "results.json", self.show),
            (self.run / "columns.json", self.describe),
            (self.run / "checkpoints" / "best.safetensors", self.predict),
            *((self.part / name, self.resume_pruning) for name in ("pruning.json", "config.toml")),
            *(
                (folder / name, self.read(folder / name))
                for name in ("t.npz", "c.npz", "t.npy", "flowers.csv")
            ),
        ]

    def predict(self) -> Any:
        """Return predictions for the table."""
        return open_run(self.run).predict(self.table, backend="numpy").to_dict(as_series=False)

    def evaluate(self) -> Any:
        """Return metrics of the test rows."""
        return prediction.evaluate_run(str(self.run), backend="numpy")["metrics"]

    def resume(self) -> Any:
        """Read what a training goes on from."""
        try:
            return resume.resume_run(str(self.unfinished), progress=False)
        except Accepted:
            return None

    def describe(self) -> None:
        """Write the summary of the columns, which is text and no more."""
        str(open_run(self.run).summary)

    def show(self) -> Any:
        """Show the results of the finished run, which are what they are."""
        summaries.show_training(resume.resume_run(str(self.run), progress=False))

    def resume_pruning(self) -> Any:
        """Read what a pruning goes on from."""
        try:
            return pruning.resume_pruning(str(self.part))
        except Accepted:
            return None

    @staticmethod
    def read(path: Path) -> Callable[[], Any]:
        """Return a function that reads a table, of which any content is one."""
        return lambda: bool(read_table(path).height)

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Inside this context nothing is trained, and all that is imported is."""
        named = os.environ.get("XPNET_BACKEND")
        os.environ["XPNET_BACKEND"] = "numpy"  # for a lost line that names one
        kept = resume.run_training, pruning._Work
        resume.run_training, pruning._Work = _accept, _accept  # type: ignore[assignment,misc]
        try:
            for _, use in self.cases:
                use()
            yield
        finally:
            resume.run_training, pruning._Work = kept  # type: ignore[misc]
            del os.environ["XPNET_BACKEND"]
            if named is not None:
                os.environ["XPNET_BACKEND"] = named


HOSTILE = (
    "null", "true", "-1", "0", "0.5", "2", "1e999", "NaN", "1" * 401, "1" * 5000, '"\\ud800"', '"\\u0000"',
    '"\\u001b[2J\\n"', '""', '"../../x"', '"' + "x" * 10**5 + '"', "[" * 100 + "]" * 100, "[" * 10**5,
    "{}", "[]", '{"a": 1}',
)  # fmt: skip


def mutated(content: bytes, name: str, draw: random.Random) -> bytes:
    """Return the content of a file with one change: of bits, bytes, slices, values, keys or lines."""
    if name.endswith((".json", ".toml", ".csv")) and draw.random() < 0.6:
        return _mutated_text(content.decode(), name, draw).encode(errors="surrogatepass")
    changed, at = bytearray(content), draw.randrange(len(content))
    length = draw.choice((1, 2, 8, 100))
    kind = draw.randrange(6)
    if kind == 0:
        changed[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        changed[at : at + length] = draw.randbytes(length)
    elif kind == 2:
        del changed[at:]
    elif kind == 3:
        del changed[at : at + length]
    elif kind == 4:
        changed[at:at] = draw.choice((draw.randbytes(length), b"\0" * length, bytes(changed[:length])))
    else:
        other = draw.randrange(len(content))
        changed[at : at + length] = changed[other : other + length]
    return bytes(changed)


def _mutated_text(text: str, name: str, draw: random.Random) -> str:
    if name.endswith(".json"):
        return _mutated_json(json.loads(text), draw)
    lines = text.splitlines()
    at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    kind = draw.randrange(4)
    if kind == 0:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 1:
        del lines[at]
    elif kind == 2:
        lines.insert(at, draw.choice(("surprise = 1", lines[other], "[[train]]", '"\\u001b[2J" = 1', ",,,")))
    elif "=" in lines[at]:
        lines[at] = f"{lines[at].partition('=')[0]}= {draw.choice(HOSTILE)}"
    else:
        lines[at] = draw.choice(HOSTILE)
    return "\n".join(lines) + "\n"


def _mutated_json(value: Any, draw: random.Random) -> str:
    """Return a document with one of its values, keys or lists changed."""
    holders = list(_holders(value))
    holder = draw.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    kind = draw.randrange(5) if keys else 3
    token = draw.choice(HOSTILE)
    if kind == 0 and isinstance(holder, list):
        draw.shuffle(holder)
    elif kind == 0 or kind == 1:
        holder[draw.choice(keys)] = "\0token"
    elif kind == 2:
        del holder[draw.choice(keys)]
    elif kind == 3:
        if isinstance(holder, dict):
            holder["surprise"] = "\0token"
        else:
            holder.append("\0token")
    else:
        one, other = draw.choice(keys), draw.choice(keys)
        holder[one], holder[other] = holder[other], holder[one]
    return json.dumps(value, ensure_ascii=False).replace('"\\u0000token"', token)


def _holders(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item)


def _with_header(content: bytes, draw: random.Random) -> bytes:
    """Return a checkpoint of another description with the right checksum, as a stranger can write it."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    text = _mutated_json(json.loads(header["__metadata__"]["xpnet"]), draw)
    header["__metadata__"] = {"xpnet": text, "crc32": str(zlib.crc32(text.encode(errors="surrogatepass")))}
    made = json.dumps(header).encode()
    return len(made).to_bytes(8, "little") + made + content[8 + length :]


def read_mutated(bench: Bench, count: int, seed: int = 0) -> dict[str, collections.Counter[str]]:
    """Read so many mutated files; return how often each was refused, accepted, and said.

    Raises:
        AssertionError: the first file that ends in another error than ours, takes too long or too much
            memory, does what reading may not, or changes predictions without a word.
    """
    global _watched
    draw, counts = random.Random(seed), dict[str, collections.Counter[str]]()
    sys.addaudithook(_audit)
    with bench.ready():
        usual = [_used(use) for _, use in bench.cases]
        before = _peak()
        for number in range(count):
            at = number % len(bench.cases)
            path, use = bench.cases[at]
            content = path.read_bytes()
            forged = path.suffix == ".safetensors" and draw.random() < 0.5
            changed = _with_header(content, draw) if forged else mutated(content, path.name, draw)
            path.write_bytes(changed)
            begun, _watched = time.process_time(), []
            try:
                outcome, found, said = _used(use)
            finally:
                seen, _watched = _watched, None
                path.write_bytes(content)
                shown = f"file {number} of seed {seed}, {path.name}: {changed[:300]!r}"
            seconds = time.process_time() - begun
            if outcome == "accepted" and found != usual[at][1]:
                assert said or forged, f"{shown}: other predictions, and not a word"
                outcome = "said"
            assert outcome != "fault", f"{shown}: {found!r}"
            assert said.isprintable() or path.parent == bench.table.parent, f"{shown}: {said!r}"
            assert seconds < SECONDS, f"{shown}: {seconds:.1f} s"
            assert not seen, f"{shown}: {seen}"
            assert _peak() - before < MEMORY + 10 * len(changed), f"{shown}: {_peak() - before} bytes"
            counts.setdefault(path.name, collections.Counter())[outcome] += 1
    return counts


def _used(use: Callable[[], Any]) -> tuple[str, Any, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            return "accepted", use(), said.getvalue().replace("\n", " ")
        except XpnetError as error:
            return "refused", None, str(error)
        except Exception as error:
            return "fault", error, ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp())
    try:
        for name, counter in read_mutated(Bench(place), *map(int, sys.argv[1:])).items():
            print(f"{name}: {dict(counter)}")
    finally:
        shutil.rmtree(place)
