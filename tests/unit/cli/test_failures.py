"""What a command that fails shows: one line for a user's fault, a traceback for a defect of ours."""

from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from earwitness.cli.app import DEFECT_STATUS, FAILURE_STATUS, Command, app, describe
from earwitness.client.refusals import ReferenceMismatch
from earwitness.detection.eer import UndefinedEer, equal_error_rate
from earwitness.detection.errors import BrokenScores
from earwitness.errors import EarwitnessError, NotFound
from earwitness.features import AudioError, FeatureError, get_profile, load_audio
from earwitness.inference.metadata import BundleMetadata, MetadataError


def run(work: Callable[[], object], *options: str) -> Result:
    """`earwitness [options] work` as the command line runs it, with `work` for its body."""
    own = typer.Typer(pretty_exceptions_enable=False)

    @own.callback()
    def root(debug: bool = False) -> None:
        pass

    @own.command("work", cls=Command)
    def command() -> None:
        work()

    return CliRunner().invoke(own, [*options, "work"])


def broadcast() -> object:
    return np.zeros(3) + np.zeros(4)


def test_a_defect_shows_its_traceback_and_has_a_status_of_its_own() -> None:
    failed = run(broadcast)
    assert failed.exit_code == DEFECT_STATUS != FAILURE_STATUS
    lines = failed.stderr.splitlines()
    assert lines[0].startswith("Traceback (most recent call last)")
    assert any("np.zeros(3) + np.zeros(4)" in line for line in lines)
    assert lines[-1].startswith("error: unexpected ValueError: operands could not be broadcast together")


@pytest.mark.parametrize(
    "work",
    [lambda: int("x"), lambda: dict[str, int]()["gone"], lambda: np.frombuffer(b"123", np.float32), lambda: 1 / 0],
    ids=["ValueError", "KeyError", "buffer", "ZeroDivisionError"],
)
def test_no_builtin_exception_is_taken_for_a_users_fault(work: Callable[[], object]) -> None:
    failed = run(work)
    assert failed.exit_code == DEFECT_STATUS
    assert "Traceback" in failed.stderr


def test_a_defect_among_tasks_is_one_too() -> None:
    def work() -> None:
        raise ExceptionGroup("tasks", [NotFound("thing", "t", "give another"), ValueError("inner")])

    failed = run(work)
    assert failed.exit_code == DEFECT_STATUS
    assert failed.stderr.splitlines()[-1].startswith("error: unexpected ValueError: inner")


@pytest.mark.parametrize(
    ("work", "kind", "said"),
    [
        (lambda: equal_error_rate([1.0, 2.0], [True, True]), UndefinedEer, "all 2 trials are genuine"),
        (lambda: get_profile("log-mel-80@9"), FeatureError, "feature profile 'log-mel-80@9' is unknown"),
        (lambda: load_audio(Path("gone.wav"), 8000), AudioError, "gone.wav: no such audio file"),
        (lambda: BundleMetadata.from_parameters({}), MetadataError, "is missing or malformed"),
    ],
)
def test_a_users_fault_is_one_line(work: Callable[[], object], kind: type[EarwitnessError], said: str) -> None:
    with pytest.raises(kind) as caught:
        work()
    failed = run(work)
    assert failed.exit_code == FAILURE_STATUS
    (line,) = failed.stderr.splitlines()
    assert line == f"error: {describe(caught.value)}"
    assert said in line


@pytest.mark.parametrize("kind", ["dataset", "checkpoint", "export", "diverged"])
def test_faults_of_training_are_one_line(kind: str) -> None:
    from earwitness.training.checkpoint import CheckpointError
    from earwitness.training.corpus import DatasetError
    from earwitness.training.export.errors import UnsupportedOperator
    from earwitness.training.run_folder import Diverged

    errors = {
        "dataset": DatasetError("corpus: is\n  broken"),
        "checkpoint": CheckpointError("a.pt: no such checkpoint"),
        "export": UnsupportedOperator("aten.cumprod.default", "fc1", "it has no rule"),
        "diverged": Diverged("update 3: the loss is nan"),
    }

    def work() -> None:
        raise errors[kind]

    failed = run(work)
    assert failed.exit_code == FAILURE_STATUS
    (line,) = failed.stderr.splitlines()
    assert line == f"error: {' '.join(str(errors[kind]).split())}"


def test_debug_adds_the_traceback_to_a_users_fault() -> None:
    def work() -> None:
        raise BrokenScores(["a.txt: line 3 holds no score"])

    failed = run(work, "--debug")
    assert failed.exit_code == FAILURE_STATUS
    assert failed.stderr.startswith("Traceback")
    assert failed.stderr.splitlines()[-1] == "error: a.txt: line 3 holds no score"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("corpus build out --share rapped", "error: --share: 'rapped' has no number after the '='; give a share from"),
        ("corpus build out --share x=1", "error: --share: 'x=1' names no kind; give one of"),
        ("data check . --valid-share 0.6 --test-share 0.6", "error: --valid-share: is 0.6 and --test-share 0.6; give"),
        ("train svd -c gone -o out", "error: gone holds no complete corpus"),
    ],
)
def test_real_commands_refuse_in_one_line(
    words: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = CliRunner().invoke(app, words.split())
    assert failed.exit_code == FAILURE_STATUS, failed.output
    (shown,) = failed.stderr.splitlines()
    assert shown.startswith(line)
    assert list(tmp_path.iterdir()) == []


def test_refusals_of_services_are_expected_whatever_their_class() -> None:
    def work() -> None:
        raise ReferenceMismatch(grpc.StatusCode.FAILED_PRECONDITION, "layer is fc8", "REFERENCE_MISMATCH")

    failed = run(work)
    assert failed.exit_code == FAILURE_STATUS
    assert failed.stderr == "error: layer is fc8\n"
