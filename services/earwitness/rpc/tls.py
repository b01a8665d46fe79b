"""The server's certificates, read again when their files change: a new certificate needs no new start."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc

from earwitness.errors import FailedPrecondition
from earwitness.rpc.files import Watched


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Of the PEM files `certificate` (the chain) and `key`; with `client_ca`, clients must show a certificate of it.

    Each handshake uses what the files hold then. What does not fit together, as while they are being written, is not
    used: the pair before stays.

    Raises: FailedPrecondition for files that do not fit together now; OSError.
    """
    files = [certificate, key, *([client_ca] if client_ca else [])]

    def read() -> grpc.ServerCertificateConfiguration:
        require_pair(certificate, key, client_ca)
        return grpc.ssl_server_certificate_configuration(
            [(key.read_bytes(), certificate.read_bytes())], client_ca.read_bytes() if client_ca else None
        )

    watched = Watched(files, read)
    served = watched.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        found = watched.current()
        if found is served:
            return None
        served = found
        return found

    fetch = cast(Callable[[], grpc.ServerCertificateConfiguration], changed)  # None, says grpc, is no change
    return grpc.dynamic_ssl_server_credentials(served, fetch, require_client_authentication=client_ca is not None)


def require_pair(certificate: Path, key: Path, authority: Path | None) -> None:
    """Raises: FailedPrecondition for PEM files that do not fit together or are broken; OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
    except ssl.SSLError as err:
        raise FailedPrecondition(
            f"the TLS files {certificate.name}, {key.name} do not fit together or are broken ({err.reason or err})"
        ) from err
