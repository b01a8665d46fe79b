"""The explainer's way to a real Triton in TLS and mutual TLS."""

from pathlib import Path

import grpc
import pytest

from earwitness.errors import FailedPrecondition
from earwitness.inference.backend import InferenceUnavailable
from earwitness.inference.triton import TritonBackend
from earwitness.inference.triton_install import TritonInstall
from earwitness.inference.tritonserver import TritonServer
from earwitness.rpc.dialled import ClientTls
from tests.helpers.certificates import Pair, issue
from tests.helpers.tiny_bundle import write_tiny_bundle

ONE_SIDED, MUTUAL = "--grpc-use-ssl=true", "--grpc-use-ssl-mutual=true"


def secured(install: TritonInstall, folder: Path, authority: Pair, client: Pair, mode: str) -> TritonServer:
    """A Triton with a certificate of `authority`, asked with `client`'s whether it is ready."""
    write_tiny_bundle(folder / "models")
    certificate, key = issue("localhost", authority).write(folder, "server")
    root, _ = authority.write(folder, "authority")
    options = [mode, f"--grpc-server-cert={certificate}", f"--grpc-server-key={key}", f"--grpc-root-cert={root}"]
    credentials = grpc.ssl_channel_credentials(authority.certificate_pem, client.key_pem, client.certificate_pem)
    return TritonServer(install, folder / "models", options=options, credentials=credentials)


async def names(url: str, tls: ClientTls | None) -> list[str]:
    backend = TritonBackend(url, tls)
    try:
        return [bundle.name for bundle in await backend.bundles()]
    finally:
        await backend.close()


async def test_tls(triton_install: TritonInstall, tmp_path: Path) -> None:
    authority = issue("authority")
    another, _ = issue("another authority").write(tmp_path, "another")
    async with secured(triton_install, tmp_path, authority, issue("explainer", authority), ONE_SIDED) as triton:
        assert await names(triton.grpc_url, ClientTls(tmp_path / "authority.pem")) == ["tiny"]
        for refused in (None, ClientTls(another)):
            with pytest.raises(InferenceUnavailable):
                await names(triton.grpc_url, refused)


async def test_mutual_tls(triton_install: TritonInstall, tmp_path: Path) -> None:
    authority = issue("authority")
    client = issue("explainer", authority)
    certificate, key = client.write(tmp_path, "explainer")
    stranger_certificate, stranger_key = issue("stranger").write(tmp_path, "stranger")
    async with secured(triton_install, tmp_path, authority, client, MUTUAL) as triton:
        root = tmp_path / "authority.pem"
        assert await names(triton.grpc_url, ClientTls(root, certificate, key)) == ["tiny"]
        for refused in (
            None,
            ClientTls(root),
            ClientTls(root, stranger_certificate, stranger_key),
            ClientTls(stranger_certificate, certificate, key),
        ):
            with pytest.raises(InferenceUnavailable):
                await names(triton.grpc_url, refused)
        with pytest.raises(FailedPrecondition, match="do not fit together"):
            await names(triton.grpc_url, ClientTls(root, certificate, stranger_key))
        # A certificate that is renewed is shown by the calls that come after, without a new start.
        renewing = TritonBackend(triton.grpc_url, ClientTls(root, stranger_certificate, stranger_key))
        with pytest.raises(InferenceUnavailable):
            await renewing.bundles()
        client.write(tmp_path, "stranger")
        assert [bundle.name for bundle in await renewing.bundles()] == ["tiny"]
        await renewing.close()
