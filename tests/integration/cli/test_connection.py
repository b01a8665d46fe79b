"""How clients reach a service: tokens, mutual TLS, and what they try again."""

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from earwitness.client import RpcFailure, ScorerClient, Tls
from earwitness.scorer.server import build_server
from earwitness.scorer.settings import ScorerSettings
from earwitness.scorer.v1 import scorer_pb2 as pb
from earwitness.scorer.v1 import scorer_pb2_grpc
from tests.helpers.certificates import issue
from tests.integration.cli.conftest import Run


class Moody(scorer_pb2_grpc.ScorerServiceServicer):
    """Away for the first two calls of each method."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    async def ListReferences(self, request: Any, context: Any) -> pb.ListReferencesResponse:  # noqa: N802
        await self._moods("list", context)
        return pb.ListReferencesResponse()

    async def AppendActivations(self, request_iterator: Any, context: Any) -> pb.AppendActivationsResponse:  # noqa: N802
        _ = [part async for part in request_iterator]
        await self._moods("append", context)
        return pb.AppendActivationsResponse(row_count=2)

    async def DeleteReference(self, request: Any, context: Any) -> pb.DeleteReferenceResponse:  # noqa: N802
        await self._moods("delete", context)
        return pb.DeleteReferenceResponse()

    async def _moods(self, method: str, context: Any) -> None:
        self.calls[method] = self.calls.get(method, 0) + 1
        if self.calls[method] <= 2:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")


async def test_only_what_may_be_repeated_is_tried_again() -> None:
    moody, server = Moody(), grpc.aio.server()
    scorer_pb2_grpc.add_ScorerServiceServicer_to_server(moody, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with ScorerClient(f"127.0.0.1:{port}") as scorer:
            assert await scorer.list_references() == []
            assert await scorer.append_activations("r", "s", np.zeros((2, 3), np.float32))
            with pytest.raises(RpcFailure, match="not now"):
                await scorer.delete_reference("r")
    finally:
        await server.stop(None)
    assert moody.calls == {"list": 3, "append": 3, "delete": 1}


async def test_token_and_mutual_tls(tmp_path: Path) -> None:
    authority = issue("authority")
    ca, _ = authority.write(tmp_path, "ca")
    certificate, key = issue("server", authority).write(tmp_path, "server")
    client_certificate, client_key = issue("client", authority).write(tmp_path, "client")
    (tmp_path / "tokens").write_text("secret\n")
    settings = ScorerSettings(
        port=0, metrics_port=None, data_dir=tmp_path, token_file=tmp_path / "tokens", tls_certificate=certificate,
        tls_key=key, tls_client_ca=ca,
    )  # fmt: skip
    tls = Tls(ca, client_certificate, client_key)
    async with await build_server(settings) as server:
        target = f"127.0.0.1:{server.port}"
        async with ScorerClient(target, token="secret", tls=tls) as scorer:
            assert await scorer.list_references() == []
        async with ScorerClient(target, token="guess", tls=tls) as scorer:
            assert await scorer.serving()
            with pytest.raises(RpcFailure) as refused:
                await scorer.list_references()
        async with ScorerClient(target, token="secret", tls=Tls(ca)) as scorer:
            assert not await scorer.serving(timeout_s=1.0)
    assert refused.value.code is grpc.StatusCode.UNAUTHENTICATED


def test_token_file_and_certificates_of_the_command(run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "token"
    assert str(missing) in run("--token-file", missing, "models").error()
    assert "ca.pem cannot be read" in run("--tls-ca", tmp_path / "ca.pem", "models").error()
