"""What the stack checks before it starts anything."""

import socket
from pathlib import Path

import pytest

from earwitness.cli.stack import Ports, StackError, check_repository, choose_ports
from earwitness.errors import EarwitnessError
from tests.helpers.tiny_bundle import flip_a_bit, write_tiny_bundle

FREE = Ports(0, 0, 0, 0, 0, 0)


def test_zero_becomes_six_different_ports() -> None:
    chosen = vars(choose_ports("127.0.0.1", FREE, None)).values()
    assert len(set(chosen)) == 6
    assert 0 not in chosen


def test_taken_port_is_named_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        ports = Ports(0, 0, taken, 0, 0, 0)
        with pytest.raises(StackError, match=rf"port {taken} \(triton\) .* choose another with --triton-port"):
            choose_ports("127.0.0.1", ports, "triton")
        assert choose_ports("127.0.0.1", ports, "local").triton == taken  # nobody listens there


def test_one_port_twice_is_refused() -> None:
    port = choose_ports("127.0.0.1", FREE, "local").scorer
    with pytest.raises(StackError, match="--scorer-port"):
        choose_ports("127.0.0.1", Ports(port, port, 0, 0, 0, 0), "local")


def test_repository_needs_a_complete_bundle(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    check_repository(tmp_path)
    for part in ("config.pbtxt", "1/model.onnx"):
        (tmp_path / "tiny_search" / part).unlink()
    (tmp_path / "tiny_search/1").rmdir()
    (tmp_path / "tiny_search").rmdir()
    with pytest.raises(EarwitnessError, match="holds no model that can be explained"):
        check_repository(tmp_path)


def test_repository_needs_a_bundle_that_is_not_damaged(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path)
    flip_a_bit(tmp_path / "tiny_classifier/1/model.onnx")
    with pytest.raises(
        StackError, match=r"models/tiny cannot be used: .*tiny_classifier/1/model\.onnx is not the file"
    ):
        check_repository(tmp_path)
    good = write_tiny_bundle(tmp_path, "good")
    (tmp_path / "lost+found").mkdir()
    assert check_repository(tmp_path) == (good.metadata,)
