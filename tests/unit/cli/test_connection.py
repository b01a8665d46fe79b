"""Where commands look for the services."""

import os
from pathlib import Path

import pytest

from earwitness.cli.connection import Connection, Endpoints, data_folder, hold, inference_backend, repository_folder
from earwitness.errors import InvalidArgument


def endpoints(pid: int) -> Endpoints:
    return Endpoints("local", "models", "127.0.0.1:1", "127.0.0.1:2", None, {"scorer": "http://x"}, {"earwitness": pid})


def test_running_stack_is_found(tmp_path: Path) -> None:
    assert Endpoints.read(tmp_path) is None
    with hold(tmp_path):
        endpoints(os.getpid()).write(tmp_path)
        assert Endpoints.read(tmp_path) == endpoints(os.getpid())
        with pytest.raises(BlockingIOError), hold(tmp_path):
            pass


def test_word_of_a_dead_stack_counts_for_nothing(tmp_path: Path) -> None:
    """Whoever has its process id by now: here it is our own."""
    endpoints(os.getpid()).write(tmp_path)
    assert Endpoints.read(tmp_path) is None
    assert (tmp_path / "stack.json").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"backend": "local"}', "no json"])
def test_broken_word_counts_for_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text)
    assert Endpoints.read(tmp_path) is None


async def test_options_come_before_the_running_stack_and_that_before_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    connection = Connection()
    assert connection.explainer(None, None).target == "127.0.0.1:50051"
    assert connection.scorer(None, None).target == "127.0.0.1:50052"
    endpoints(os.getpid()).write(tmp_path)
    with hold(tmp_path):
        assert connection.explainer(None, tmp_path).target == "127.0.0.1:1"
        assert connection.scorer(None, tmp_path).target == "127.0.0.1:2"
    assert connection.scorer("host:9", tmp_path).target == "host:9"


def test_backend_is_one_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidArgument, match="either --triton or --model-repository"):
        inference_backend("127.0.0.1:1", tmp_path, tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert "127.0.0.1:8001" in inference_backend(None, None, None).description


async def test_no_other_stack_answers_for_a_folder_whose_own_does_not_run(tmp_path: Path) -> None:
    connection = Connection()
    for reach in (connection.explainer, connection.sweeps, connection.scorer):
        with pytest.raises(InvalidArgument, match=rf"no stack runs with {tmp_path}; start one"):
            reach(None, tmp_path)
        assert reach("host:9", tmp_path).target == "host:9"
    with pytest.raises(InvalidArgument, match="no stack runs"):
        inference_backend(None, None, tmp_path)


def test_token_is_read_from_its_file(tmp_path: Path) -> None:
    assert Connection().token is None
    (tmp_path / "token").write_text("secret\n")
    assert Connection(token_file=tmp_path / "token").token == "secret"
    (tmp_path / "token").write_text("\n")
    with pytest.raises(InvalidArgument, match="is empty"):
        _ = Connection(token_file=tmp_path / "token").token


def test_any_certificate_turns_tls_on(tmp_path: Path) -> None:
    assert Connection().tls is None
    tls = Connection(tls_ca=tmp_path / "ca.pem").tls
    assert tls is not None
    assert tls.certificate_authority == tmp_path / "ca.pem"


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert data_folder(None) == tmp_path / "earwitness"
    assert data_folder(tmp_path / "x") == tmp_path / "x"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_repository").mkdir()
    assert repository_folder(None) == tmp_path / "model_repository"
    with pytest.raises(InvalidArgument, match="nowhere is not a folder"):
        repository_folder(tmp_path / "nowhere")
