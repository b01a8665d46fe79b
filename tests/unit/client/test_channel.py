"""Targets and certificates are checked before anything is sent."""

from pathlib import Path

import pytest

from earwitness.client import ExplainerClient, Tls
from earwitness.errors import InvalidArgument


@pytest.mark.parametrize("target", ["localhost", "localhost:", ":50051", "localhost:http", ""])
async def test_target_needs_host_and_port(target: str) -> None:
    with pytest.raises(InvalidArgument, match="give host:port"):
        ExplainerClient(target)


async def test_unreadable_certificate_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"tls\.certificate_authority: .*ca\.pem cannot be read"):
        ExplainerClient("127.0.0.1:1", tls=Tls(certificate_authority=tmp_path / "ca.pem"))
