"""Who may call: tokens, TLS, mutual TLS."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from earwitness.errors import FailedPrecondition
from earwitness.rpc.errors import error_from_rpc
from tests.integration.rpc.probe import KINDS, PATIENCE_S, running


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.certificate_pem)
        key.write_bytes(self.key_pem)
        return certificate, key


def issue(name: str, authority: Pair | None = None) -> Pair:
    """A certificate of `authority`, or one that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(authority.key if authority else key, hashes.SHA256())
    )
    return Pair(certificate, key)


async def test_tokens(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# operators\nfirst-token\n\n  second-token  \n")
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


async def test_tls(tmp_path: Path) -> None:
    authority = issue("test authority")
    certificate, key = issue("localhost", authority).write(tmp_path, "server")
    trusting = grpc.ssl_channel_credentials(authority.certificate_pem)
    async with running(tls_certificate=certificate, tls_key=key, credentials=trusting) as service:
        assert await service.health() == "SERVING"
        assert (await service.call("Unary", "x"))[0] == ["x"]
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
    known = grpc.ssl_channel_credentials(authority.certificate_pem, client.key_pem, client.certificate_pem)
    settings = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": client_ca}
    async with running(credentials=known, **settings) as service:
        assert (await service.call("Unary", "x"))[0] == ["x"]
        target = f"127.0.0.1:{service.server.port}"
        for credentials in (
            grpc.ssl_channel_credentials(authority.certificate_pem),
            grpc.ssl_channel_credentials(authority.certificate_pem, stranger.key_pem, stranger.certificate_pem),
        ):
            async with grpc.aio.secure_channel(target, credentials) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await channel.unary_unary("/a/b")(b"", timeout=PATIENCE_S)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
