"""The command as a whole: quick help, no heavy imports, failures in one line."""

import subprocess
import sys

import grpc
import pytest
from typer.testing import CliRunner

from earwitness.cli import console
from earwitness.cli.app import app, describe, flowing
from earwitness.errors import InvalidArgument, NotFound
from earwitness.rpc.errors import RpcFailure

COMMANDS = {
    "up", "models", "explain", "reference", "score", "train", "export", "evaluate", "corpus", "demo", "eer", "bench",
}  # fmt: skip
HEAVY = {"torch", "onnx", "onnxruntime", "numpy", "grpc", "matplotlib", "librosa", "sqlalchemy", "pydantic", "jinja2"}


def python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    assert {word for word in shown.stdout.split() if word in COMMANDS} == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "100"})
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) > 10


def test_help_loads_nothing_heavy() -> None:
    loaded = python("import sys, earwitness.cli.app; print(*sys.modules)")
    assert loaded.returncode == 0, loaded.stderr
    assert not HEAVY & set(loaded.stdout.split())


@pytest.mark.parametrize(
    "words",
    ["train svd -c x -o y", "train gan -c x -o y", "evaluate classifier x -c y", "export x -g y -c z"],
)
def test_without_torch_training_says_what_to_install(words: str) -> None:
    argv = words.split()
    code = f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {argv!r}; from earwitness.cli import main; main()"
    outcome = python(code)
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines()[-1].startswith("error: this needs torch, which is not installed; `make install`")


def test_without_optuna_ranges_say_what_to_install() -> None:
    argv = ["sweep", "x", "--steps", "5..50", "-r", "y"]
    code = f"import sys; sys.modules['optuna'] = None; sys.argv[1:] = {argv!r}; from earwitness.cli import main; main()"
    outcome = python(code)
    assert outcome.returncode == 1
    assert "this needs optuna, which is not installed" in outcome.stderr
    assert "the extra 'sweep'" in outcome.stderr


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("earwitness ")


@pytest.mark.parametrize(
    ("err", "line"),
    [
        (InvalidArgument("unit", "got 7;\n  at most 3"), "unit: got 7; at most 3"),
        (FileNotFoundError(2, "No such file or directory", "a.wav"), "a.wav: No such file or directory"),
        (TimeoutError(), "TimeoutError"),
        (KeyError("x"), "unexpected KeyError: 'x'; a defect of earwitness, please report it with the lines above"),
        (ExceptionGroup("tasks", [NotFound("thing", "inner", "give another")]), "inner does not exist; give another"),
        (RpcFailure(grpc.StatusCode.NOT_FOUND, "models/x does not exist"), "models/x does not exist"),
        (RpcFailure(grpc.StatusCode.UNAVAILABLE, "the store is away", reason="STORE_UNAVAILABLE"), "the store is away"),
    ],
)
def test_failures_are_one_line(err: Exception, line: str) -> None:
    assert describe(err) == line


def test_services_that_are_away_come_with_a_way_out() -> None:
    assert "earwitness up" in describe(RpcFailure(grpc.StatusCode.UNAVAILABLE, "x:1 cannot be reached"))
    assert "no answer in time" in describe(RpcFailure(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))


def test_help_text_flows_but_examples_stay() -> None:
    assert flowing("One.\n\ntwo\nlines\n\n  earwitness a\n\n  earwitness b") == (
        "One.\n\ntwo lines\n\n  earwitness a\n\n  earwitness b"
    )


def test_json_has_neither_nan_nor_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [float("nan"), 1.0], "b": (float("inf"), "ü")})
    assert capsys.readouterr().out == '{\n  "a": [\n    null,\n    1.0\n  ],\n  "b": [\n    null,\n    "ü"\n  ]\n}\n'


def test_tables_keep_long_cells_whole_and_markup_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table("title [x]", ["name", "value#"], [["[bold]" + "n" * 90, "1"]])
    shown = capsys.readouterr().out
    assert "title [x]" in shown
    assert "[bold]" + "n" * 90 in shown
