"""TLS and mutual TLS: who is let in, which versions, and certificates that change."""

import asyncio
import ssl
import warnings
from pathlib import Path

import grpc
import grpc.aio
import pytest

from earwitness.errors import FailedPrecondition
from tests.helpers.certificates import issue
from tests.integration.rpc.probe import PATIENCE_S, running
from tests.integration.rpc.test_access import replace


async def test_certificates_are_read_again(tmp_path: Path) -> None:
    old, new = issue("old authority"), issue("new authority")
    certificate, key = issue("localhost", old).write(tmp_path, "server")
    trusting = {name: grpc.ssl_channel_credentials(each.certificate_pem) for name, each in (("old", old), ("new", new))}

    async def reached(authority: str, port: int) -> bool:
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", trusting[authority]) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/a/b")(b"", timeout=PATIENCE_S)
        return caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    async with running(tls_certificate=certificate, tls_key=key, credentials=trusting["old"]) as service:
        port = service.server.port
        held = service.open("BidiStream", "x")
        assert (await held.read()).value == "first"
        renewed = issue("localhost", new)
        replace(certificate, renewed.certificate_pem.decode())
        assert await reached("old", port), "half a pair is not used"
        replace(key, renewed.key_pem.decode())
        assert await reached("new", port)
        assert not await reached("old", port)
        assert (await held.read()).value == "x", "connections live on"


async def test_tls_files_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    certificate, _ = issue("localhost").write(tmp_path, "one")
    _, key = issue("localhost").write(tmp_path, "two")
    with pytest.raises(FailedPrecondition, match=r"one\.pem, two\.key do not fit together"):
        async with running(tls_certificate=certificate, tls_key=key):
            pass


async def handshake(port: int, version: ssl.TLSVersion) -> Exception | None:
    """How a handshake of that TLS version fails; None when it does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would refuse
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    except (ssl.SSLError, ConnectionError) as err:
        return err
    writer.close()
    return None


async def test_tls(tmp_path: Path) -> None:
    authority = issue("test authority")
    certificate, key = issue("localhost", authority).write(tmp_path, "server")
    trusting = grpc.ssl_channel_credentials(authority.certificate_pem)
    async with running(tls_certificate=certificate, tls_key=key, credentials=trusting) as service:
        assert await service.health() == "SERVING"
        assert (await service.call("Unary", "x"))[0] == ["x"]
        assert await handshake(service.server.port, ssl.TLSVersion.TLSv1_2) is None
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            assert await handshake(service.server.port, version) is not None
        suspicious = grpc.ssl_channel_credentials(issue("another authority").certificate_pem)
        target = f"127.0.0.1:{service.server.port}"
        for channel in (grpc.aio.insecure_channel(target), grpc.aio.secure_channel(target, suspicious)):
            async with channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary("/a/b")(b"", timeout=PATIENCE_S)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_mutual_tls(tmp_path: Path) -> None:
    authority, client_authority = issue("server authority"), issue("client authority")
    certificate, key = issue("localhost", authority).write(tmp_path, "server")
    client_ca, _ = client_authority.write(tmp_path, "client-ca")
    client, stranger = issue("client", client_authority), issue("stranger", authority)
    expired = issue("client", client_authority, hours=-1)
    known = grpc.ssl_channel_credentials(authority.certificate_pem, client.key_pem, client.certificate_pem)
    settings = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": client_ca}
    async with running(credentials=known, **settings) as service:
        assert (await service.call("Unary", "x"))[0] == ["x"]
        target = f"127.0.0.1:{service.server.port}"
        for credentials in (
            grpc.ssl_channel_credentials(authority.certificate_pem),
            grpc.ssl_channel_credentials(authority.certificate_pem, stranger.key_pem, stranger.certificate_pem),
            grpc.ssl_channel_credentials(authority.certificate_pem, expired.key_pem, expired.certificate_pem),
        ):
            async with grpc.aio.secure_channel(target, credentials) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary("/a/b")(b"", timeout=PATIENCE_S)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
