"""Messages in the words of Python and of the command line."""

from __future__ import annotations

import logging
import pickle
import shlex

import pytest

from xpnet.cli import main
from xpnet.cli.console import messages
from xpnet.cli.wording import said
from xpnet.errors import Call, ConfigError, Use, Word, Words, call, reason, use

CASES = {
    "a setting": (use("batch_size"), "batch_size", "--batch-size"),
    "a value": (use("missing", "drop"), "missing='drop'", "--missing drop"),
    "a name with a blank": (use("drop", "Flight Date"), "drop='Flight Date'", "--drop 'Flight Date'"),
    "a name of nothing": (use("drop", ""), "drop=''", "--drop ''"),
    "several names": (use("drop", ["a", "b c"]), "drop=['a', 'b c']", "--drop a --drop 'b c'"),
    "widths": (use("hidden", (64, 32)), "hidden=[64, 32]", "--hidden 64,32"),
    "a number": (use("validation", 0.1), "validation=0.1", "--validation 0.1"),
    "a switch": (use("decay", True), "decay=True", "--decay"),
    "a switch off": (use("tensorboard", False), "tensorboard=False", "--no-tensorboard"),
    "a boolean that may be unset": (use("dayfirst", False), "dayfirst=False", "--dayfirst false"),
    "none": (use("clip_norm", None), "clip_norm=None", "--clip-norm none"),
    "weights": (use("class_weight", {"a": 2}), "class_weight={'a': 2}", "--class-weight a=2"),
    "a word": (use("epochs", Word("N")), "epochs=N", "--epochs N"),
    "a keyword of Python": (use("start", "epoch-5"), "start='epoch-5'", "--from epoch-5"),
    "a call": (
        call("resume", "runs/my run", epochs=9),
        "xpnet.runs.open('runs/my run').resume(epochs=9)",
        "xpnet resume 'runs/my run' --epochs 9",
    ),
    "a function": (call("train", None, "digits"), "xpnet.runs.train('digits')", "xpnet train digits"),
    "arguments": (
        call("predict", "r", Word("FILE"), checkpoint="best"),
        "xpnet.runs.open('r').predict(FILE, checkpoint='best')",
        "xpnet predict r FILE --checkpoint best",
    ),
    "a pruning": (
        call("resume_pruning", "r"),
        "xpnet.runs.open('r').resume()",
        "xpnet prune r --resume",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_words_of_both_faces(name: str) -> None:
    place, in_python, in_shell = CASES[name]
    error = ConfigError(f"before {place} after")
    assert str(error) == f"before {in_python} after"
    assert said(error) == f"before {in_shell} after"
    assert error.args == (f"before {in_python} after",)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), said(again)) == (str(error), said(error))


def test_a_remedy_is_data() -> None:
    error = ConfigError(f"use {use('missing', 'drop')} or {call('resume', 'r')}")
    assert error.uses == [Use("missing", "drop")]
    assert error.words.things == [Use("missing", "drop"), Call("resume", "r", (), {})]


def test_an_error_within_another_keeps_its_places() -> None:
    error = ConfigError(f"use {use('missing', 'drop')}")
    assert said(ConfigError(f"a run: {reason(error)}")) == "a run: use --missing drop"
    error.change(f"{error.text}; or {use('test', 0)}")
    assert said(error) == "use --missing drop; or --test 0"


@pytest.mark.parametrize(
    "text", ["\ufdd0\ufdd1", "\ufdd0{}\ufdd1", '\ufdd0{"use": 3}\ufdd1 \ufdd0', "\ufdd0[1]\ufdd1"]
)
def test_text_of_strangers(text: str) -> None:
    error = ConfigError(f"column '{text}'")
    for shown in (str(error), said(error)):
        assert "\ufdd0" not in shown
        assert "\ufdd1" not in shown


def test_what_the_log_says_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with messages():
        for _ in range(2):
            logging.getLogger("xpnet").warning(Words(f"odd: {use('missing', 'drop')}"))
        logging.getLogger("xpnet").info("not shown")
        logging.getLogger("xpnet.runs").info("on %s", "the way\n")
    logging.getLogger("xpnet.runs").info("shown to nobody")
    assert capsys.readouterr().err == "warning: odd: --missing drop\non the way\\n\n"


def test_commands_can_be_pasted(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{i},{i % 3},{i}" for i in range(50))
    (tmp_path / "a table.csv").write_text(f"size,kind,one two\n{rows}\n")
    train = ["train", "a table.csv", "--target", "kind", "--epochs", "1", "--out", "a run", "--quiet"]
    assert main([*train, "--backend", "numpy"]) == 0
    capsys.readouterr()
    assert main(train) == 2
    told = capsys.readouterr().err.strip().rpartition("with: ")[2]
    command = shlex.split(told)
    assert command == ["xpnet", "resume", "a run"]
    assert main([*command[1:], "--quiet"]) == 0
