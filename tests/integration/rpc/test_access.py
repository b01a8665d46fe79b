"""Who may call, and how much: tokens, JSON Web Tokens, roles, limits, oversized messages."""

import asyncio
import hmac
import json
import logging
import os
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import grpc
import grpc.aio
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from google.longrunning import operations_pb2
from google.protobuf.wrappers_pb2 import StringValue

from earwitness.errors import FailedPrecondition
from earwitness.explainer.v1 import explainer_pb2
from earwitness.rpc.auth import Role
from earwitness.rpc.errors import error_from_rpc
from earwitness.rpc.roles import ROLES
from earwitness.rpc.settings import ServerSettings
from earwitness.scorer.v1 import scorer_pb2
from tests.helpers.issuer import Issuer
from tests.integration.rpc.probe import KINDS, PATIENCE_S, SERVICE, Running, running


async def test_tokens(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# operators\nfirst-token admin\n\n  second-token   admin \n")
    async with running(token_file=tokens) as service:
        for kind in KINDS:
            for metadata in (
                [], [("authorization", "first-token")], [("authorization", "Bearer wrong")],
                [("authorization", "Bearer ")], [("authorization", "Basic first-token")],
                [("authorization", "Bearer # operators")],
            ):  # fmt: skip
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await service.call(kind, "x", metadata=metadata)
                failure = error_from_rpc(caught.value)
                assert (failure.code, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
            for token in ("first-token", "second-token"):
                answers, _ = await service.call(kind, "x", metadata=[("authorization", f"Bearer {token}")])
                assert answers[-1] == "x"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.call("Nonsense", "x")
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await service.health() == "SERVING"


async def test_a_token_file_without_tokens_is_refused(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# none yet\n\n")
    with pytest.raises(FailedPrecondition, match="holds no token"):
        async with running(token_file=tokens):
            pass


async def test_tokens_are_read_again_and_a_line_taken_out_is_revoked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("first admin\nsecond admin\n")
    async with running(token_file=tokens) as service:
        assert await code(service, "first") is None
        replace(tokens, "second admin\nthird admin\n")
        assert await code(service, "first") is grpc.StatusCode.UNAUTHENTICATED
        assert await code(service, "third") is None
        replace(tokens, "second nonsense\n")
        assert await code(service, "third") is None, "what cannot be read changes nothing"
        assert "write TOKEN [read|explain|admin [NAME]]" in caplog.text
        replace(tokens, "# nobody\n")
        assert await code(service, "third") is grpc.StatusCode.UNAUTHENTICATED


async def test_roles_and_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    roles = {f"/{SERVICE}/Unary": Role.READ, f"/{SERVICE}/ServerStream": Role.EXPLAIN}
    monkeypatch.setattr("earwitness.rpc.server.ROLES", roles)
    tokens = tmp_path / "tokens"
    tokens.write_text("r read ada\ne explain\na admin\n")
    caplog.set_level(logging.INFO)
    allowed = {"r": ["Unary"], "e": ["Unary", "ServerStream"], "a": ["Unary", "ServerStream", "ClientStream"]}
    async with running(token_file=tokens) as service:
        for token, kinds in allowed.items():
            for kind in ("Unary", "ServerStream", "ClientStream"):  # the last is not listed: for admin
                expected = None if kind in kinds else grpc.StatusCode.PERMISSION_DENIED
                assert await code(service, token, kind) is expected
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.call("ServerStream", "x", metadata=bearer("r"))
    failure = error_from_rpc(caught.value)
    assert failure.reason == "ROLE_TOO_LOW"
    assert "ServerStream is for the role explain, this token has read" in failure.message
    assert "OK by ada in" in caplog.text


def test_every_method_served_has_a_role() -> None:
    services = [explainer_pb2.DESCRIPTOR.services_by_name["ExplainerService"],
                scorer_pb2.DESCRIPTOR.services_by_name["ScorerService"],
                operations_pb2.DESCRIPTOR.services_by_name["Operations"]]  # fmt: skip
    paths = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    assert paths == {path for path in ROLES if not path.startswith("/grpc.reflection.")}


async def test_json_web_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.rpc.server.ROLES", {f"/{SERVICE}/Unary": Role.READ})
    one = Issuer(ec.generate_private_key(ec.SECP256R1()), "ES256", "one")
    two = Issuer(rsa.generate_private_key(65537, 2048), "RS256", "two")
    stranger = Issuer(ec.generate_private_key(ec.SECP256R1()), "ES256", "one")
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [one.key_set, two.key_set]}))
    settings = {"jwt_jwks_file": keys, "jwt_issuer": "https://issuer.example", "jwt_audience": "earwitness"}
    async with running(**settings) as service:
        for good in (
            one.token(), two.token(), one.token(earwitness_role="other admin"), one.token(earwitness_role=["explain"]),
            one.token(aud=["a", "earwitness"]), one.token(exp=time.time() - 10),  # clocks may differ by so much
        ):  # fmt: skip
            assert await code(service, good) is None
        signed, unsigned = one.token(), jwt.encode({"sub": "ada"}, None, "none")
        public = one.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        forged = _hmac_token(public)
        for bad in (
            one.token(exp=time.time() - 120), one.token(nbf=time.time() + 600), one.token(aud="others"),
            one.token(iss="https://other.example"), one.token(exp=None), one.token(sub=None), one.token(aud=None),
            one.token("two"), one.token("three"), stranger.token(), unsigned, forged, "a.b.c", "word",
            signed[:-4] + "AAAA", signed.replace(".", "..", 1), _without_algorithm(signed),
        ):  # fmt: skip
            assert await code(service, bad) is grpc.StatusCode.UNAUTHENTICATED, bad
        for without_role in (one.token(earwitness_role=None), one.token(earwitness_role={"admin": 1})):
            assert await code(service, without_role) is grpc.StatusCode.PERMISSION_DENIED
        assert await code(service, one.token(), "ClientStream") is grpc.StatusCode.PERMISSION_DENIED
        replace(keys, json.dumps({"keys": [two.key_set]}))
        assert await code(service, signed) is grpc.StatusCode.UNAUTHENTICATED, "its key is gone"
        assert await code(service, two.token()) is None


@pytest.mark.parametrize(
    "content", ["", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}]}']
)
async def test_a_key_set_without_usable_keys_is_refused(tmp_path: Path, content: str) -> None:
    keys = tmp_path / "jwks.json"
    keys.write_text(content)
    with pytest.raises(FailedPrecondition, match=r"jwks\.json"):
        async with running(jwt_jwks_file=keys, jwt_issuer="i", jwt_audience="a"):
            pass


def test_json_web_tokens_for_anybody_are_refused(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text("{}")
    with pytest.raises(ValueError, match="needs jwt_issuer and jwt_audience"):
        ServerSettings(jwt_jwks_file=tmp_path / "jwks.json")


async def test_calls_of_one_caller_are_limited_and_another_is_not(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a admin\nb admin\n")
    async with running(token_file=tokens, caller_rpcs_per_s=0.01, caller_burst_rpcs=2) as service:
        assert [await code(service, "a") for _ in range(2)] == [None, None]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.call("Unary", "x", metadata=bearer("a"))
        failure = error_from_rpc(caught.value)
        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "CALLER_TOO_FAST")
        assert failure.retry_after_s is not None
        assert 90 < failure.retry_after_s <= 100
        assert await code(service, "b") is None
        assert await service.health() == "SERVING"
    async with running(token_file=tokens, caller_concurrent_rpcs=1) as service:
        gate = asyncio.Event()

        async def wait(text: str) -> str:
            await gate.wait()
            return text

        service.probe.action = wait
        held = service.open("BidiStream", "x", metadata=bearer("a"))
        assert (await held.read()).value == "first"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.call("Unary", "x", metadata=bearer("a"))
        assert error_from_rpc(caught.value).reason == "CALLER_TOO_BUSY"
        gate.set()
        assert await code(service, "b") is None
        assert (await held.read()).value == "x"
        assert await held.read() is grpc.aio.EOF
        assert await code(service, "a") is None


async def test_messages_too_large_are_refused_packed_or_not() -> None:
    async with running(max_message_bytes=2**20) as service:
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{service.server.port}", compression=compression)
            async with channel:
                bomb = StringValue(value="0" * 64 * 2**20).SerializeToString()  # 64 KiB when packed
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary(f"/{SERVICE}/Unary")(bomb, timeout=PATIENCE_S)
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await service.call("Unary", "x"))[0] == ["x"]


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def code(service: Running, token: str, kind: str = "Unary") -> grpc.StatusCode | None:
    """How a call with that token fails; None when it does not."""
    try:
        await service.call(kind, "x", metadata=bearer(token))
    except grpc.aio.AioRpcError as err:
        return err.code()
    return None


def replace(path: Path, text: str) -> None:
    """As Kubernetes does: another file in the place of the one before."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)


def _without_algorithm(token: str) -> str:
    """The token, its header naming a key alone."""
    header = urlsafe_b64encode(b'{"kid":"one"}').rstrip(b"=").decode()
    return ".".join([header, *token.split(".")[1:]])


def _hmac_token(key: bytes) -> str:
    """A token signed with a public key as if that were a secret; PyJWT itself refuses to make one."""
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "one"}, {"sub": "ada", "iss": "https://issuer.example",
             "aud": "earwitness", "exp": time.time() + 600, "earwitness_role": "admin"}]  # fmt: skip
    body = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return (body + b"." + urlsafe_b64encode(hmac.digest(key, body, "sha256")).rstrip(b"=")).decode()
