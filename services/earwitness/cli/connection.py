"""Where the services are and how to reach them: options, then environment, then the stack running on this machine."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earwitness import folders
from earwitness.errors import InvalidArgument
from earwitness.files import whole_file

if TYPE_CHECKING:
    from earwitness.client import ExplainerClient, ScorerClient, SweepClient, Tls
    from earwitness.inference.backend import InferenceBackend

STATE_FILE = "stack.json"
LOCK_FILE = "stack.lock"
DEFAULT_EXPLAINER = "127.0.0.1:50051"
DEFAULT_SCORER = "127.0.0.1:50052"
DEFAULT_TRITON = "127.0.0.1:8001"


@dataclass(frozen=True)
class Endpoints:
    """Addresses of a running stack: `host:port` of gRPC servers, URLs of metrics; `triton` is None in process."""

    backend: str
    model_repository: str
    explainer: str
    scorer: str
    triton: str | None
    metrics: Mapping[str, str]
    process_ids: Mapping[str, int]

    def write(self, data: Path) -> None:
        """Write the state file by which commands on this machine find the stack."""
        with whole_file(data / STATE_FILE) as partial:
            partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, data: Path) -> "Endpoints | None":
        """The stack that runs with this data folder; None if there is none, or it exited without cleaning up."""
        try:
            endpoints = cls(**json.loads((data / STATE_FILE).read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        try:
            with hold(data):
                return None
        except OSError:  # held, or another user's, whose word is good
            return endpoints


@contextmanager
def hold(data: Path) -> Iterator[None]:
    """Lock a data folder for one stack; the lock ends with the process, however it ends.

    Raises: BlockingIOError if a stack holds the lock; OSError when the folder cannot be written.
    """
    with (data / LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


@dataclass(frozen=True)
class Connection:
    """The caller's token and certificates, for every service."""

    token_file: Path | None = None
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @property
    def tls(self) -> "Tls | None":
        """None without any certificate: plain text."""
        from earwitness.client import Tls

        if not (self.tls_ca or self.tls_certificate or self.tls_key):
            return None
        return Tls(self.tls_ca, self.tls_certificate, self.tls_key)

    @property
    def token(self) -> str | None:
        """The token in `token_file`.

        Raises: OSError; InvalidArgument for an empty file, and one that is no text.
        """
        if self.token_file is None:
            return None
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError as err:
            raise InvalidArgument("token_file", f"{self.token_file} is no text; give a file with one token") from err
        if not token:
            raise InvalidArgument("token_file", f"{self.token_file} is empty; put one token in it")
        return token

    def explainer(self, target: str | None, data: Path | None) -> "ExplainerClient":
        """A client of the explainer at `target`, or of the stack that runs here."""
        from earwitness.client import ExplainerClient

        address = target or address_of(data, lambda stack: stack.explainer, DEFAULT_EXPLAINER)
        return ExplainerClient(address, **self._credentials())

    def sweeps(self, target: str | None, data: Path | None) -> "SweepClient":
        """A client of the sweeps of the explainer at `target`, or of the stack that runs here."""
        from earwitness.client import SweepClient

        address = target or address_of(data, lambda stack: stack.explainer, DEFAULT_EXPLAINER)
        return SweepClient(address, **self._credentials())

    def scorer(self, target: str | None, data: Path | None) -> "ScorerClient":
        """A client of the scorer at `target`, or of the stack that runs here."""
        from earwitness.client import ScorerClient

        address = target or address_of(data, lambda stack: stack.scorer, DEFAULT_SCORER)
        return ScorerClient(address, **self._credentials())

    def _credentials(self) -> dict[str, Any]:
        return {"token": self.token, "tls": self.tls}


def inference_backend(triton: str | None, model_repository: Path | None, data: Path | None) -> "InferenceBackend":
    """What runs a classifier: Triton at `triton`, a folder in process, or what the stack that runs here uses.

    Raises: InvalidArgument if both are given.
    """
    from earwitness.inference.factory import open_backend

    address, folder = inference_place(triton, model_repository, data)
    if address is None:
        return open_backend("local", model_repository=folder)
    return open_backend("triton", triton_url=address)


def inference_place(
    triton: str | None, model_repository: Path | None, data: Path | None
) -> tuple[str, None] | tuple[None, Path]:
    """Where that is: Triton's address, or a folder.

    Raises: InvalidArgument when both are given.
    """
    if triton and model_repository:
        raise InvalidArgument("triton", "give either --triton or --model-repository")
    running = Endpoints.read(data_folder(data))
    if model_repository is None and triton is None and running is not None:
        triton = running.triton
        model_repository = None if triton else Path(running.model_repository)
    if model_repository is not None:
        return None, model_repository.absolute()
    return triton or address_of(data, lambda stack: stack.triton or DEFAULT_TRITON, DEFAULT_TRITON), None


def address_of(data: Path | None, of: Callable[[Endpoints], str], default: str) -> str:
    """Where the stack that runs with this folder has a service; `default` where no folder was named and none runs.

    Raises: InvalidArgument if a folder was named and no stack runs with it, rather than use the answers of another.
    """
    running = Endpoints.read(data_folder(data))
    if running is not None:
        return of(running)
    if data is not None:
        raise InvalidArgument(
            "data",
            f"no stack runs with {data}; start one (earwitness up --data {data}), or say where the services are "
            "(--explainer, --scorer, --triton)",
        )
    return default


def data_folder(given: Path | None) -> Path:
    """Folder of databases, logs and the state file of a running stack: `given`, or the user's data folder."""
    return folders.data_folder() if given is None else given.expanduser()


def repository_folder(given: Path | None) -> Path:
    """The model repository: `given`, `./model_repository`, or the one in the package.

    Raises: InvalidArgument when there is none.
    """
    candidates = [given] if given else [Path("model_repository"), folders.shipped("model_repository")]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate.resolve()
    raise InvalidArgument("model_repository", f"{candidates[0]} is not a folder; give its path (--model-repository)")
