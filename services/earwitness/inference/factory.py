"""Opens the backend that a service's settings ask for."""

from pathlib import Path
from typing import Literal

from earwitness.errors import InvalidArgument
from earwitness.inference.backend import InferenceBackend
from earwitness.rpc.dialled import ClientTls

BackendKind = Literal["triton", "local"]


def open_backend(
    kind: BackendKind,
    *,
    triton_url: str = "127.0.0.1:8001",
    triton_tls: ClientTls | None = None,
    model_repository: Path | None = None,
    threads: int | None = None,
) -> InferenceBackend:
    """The backend of that kind: `triton` at `triton_url`, or `local` on the folder `model_repository`.

    Raises: RepositoryError when the folder cannot be served; InvalidArgument when `local` is given none;
    FailedPrecondition, OSError for TLS files that cannot be used.
    """
    # Imported here: a service on Triton should not load ONNX Runtime.
    if kind == "triton":
        from earwitness.inference.triton import TritonBackend

        return TritonBackend(triton_url, triton_tls)
    if model_repository is None:
        raise InvalidArgument(
            "model_repository", "is not given; the local backend needs the folder that holds the models"
        )
    from earwitness.inference.local import LocalBackend

    return LocalBackend(model_repository, threads)
