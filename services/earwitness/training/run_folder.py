"""What every training run shares: its folder, its resumable state, its curves, its use of the machine.

A run is a function of its configuration and data on the CPU of one machine, with as many threads. On a GPU it is not:
some of cuDNN's kernels add up in whatever order, so weights of equal runs drift apart. They are resumed all the same.
"""

import contextlib
import csv
import ctypes
import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from earwitness.errors import EarwitnessError, InvalidArgument
from earwitness.files import whole_file
from earwitness.training.checkpoint import CheckpointError, save_whole
from earwitness.training.pictures import draw_curves

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

logger = logging.getLogger(__name__)

DeviceName = Literal["auto", "cpu", "cuda"]
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
NOT_IDENTITY = frozenset({"run_folder", "threads", "workers", "device", "corpus", "init", "detector", "cache"})
"""Configuration fields that may differ between a run and its continuation: where and how fast, not what."""
ADDED: Mapping[str, Any] = {"precision": "float32"}
"""Fields that came to configurations later, with what was done before there was a choice: at that they are left out, so
that older runs go on."""
PRODUCTS = ("best.pt", "checkpoints", "fid.json", "fid.csv")
"""What a run, and the choice of its best checkpoint, leave beside its state."""


class Progress(Protocol):
    """Where a run reports to; called once per update."""

    def __call__(self, done: int, total: int, text: str) -> None: ...


def silent(done: int, total: int, text: str) -> None:
    """A Progress that shows nothing."""


def plain(config: "DataclassInstance") -> dict[str, Any]:
    """A configuration as JSON-ready values, for the training record."""
    body: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return {
        key: value
        for key, value in body.items()
        if key not in NOT_IDENTITY and not (key in ADDED and value == ADDED[key])
    }


class RunFolder:
    """A folder with `state.pt` (resume), `curves.csv` and `.png` (one row per evaluation) and `train.log`."""

    def __init__(self, path: Path, config: "DataclassInstance", data: str) -> None:
        """`data` is the fingerprint of all that is read: a run goes on only with the data that it began with."""
        self.path = path
        self._state_path = path / "state.pt"
        self._curves_path = path / "curves.csv"
        identity = {"config": plain(config), "data": data}
        self._fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        path.mkdir(parents=True, exist_ok=True)

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Everything needed to continue as if the run had never stopped; all or nothing."""
        save_whole(self._state_path, {"config": self._fingerprint, **state})

    def resume(self) -> dict[str, Any] | None:
        """As `load_state`; where there is nothing yet, the folder is this run's from now on."""
        saved = self.load_state()
        if saved is None:
            self.save_state({})
        return saved

    def load_state(self) -> dict[str, Any] | None:
        """The last saved state; None for a fresh folder, or a run that was ended before it had saved one.

        Raises: CheckpointError when the folder holds a run of another configuration, checkpoints without the state of
        the run that made them, or an unreadable state.
        """
        products = [name for name in PRODUCTS if (self.path / name).exists()]
        if not self._state_path.is_file():
            if products:
                raise CheckpointError(
                    f"{self.path}: holds {', '.join(products)}, and no state.pt of the run that made them; give "
                    "another folder, or move them away"
                )
            return None
        try:
            state: dict[str, Any] = torch.load(self._state_path, map_location="cpu", weights_only=True)
        except Exception as err:
            raise CheckpointError(f"{self._state_path}: cannot be read ({err}); remove it to start again") from err
        begun_only = state.keys() == {"config"}
        if begun_only and not products:
            return None
        if state.get("config") != self._fingerprint:
            raise CheckpointError(
                f"{self.path}: holds a run of another configuration or corpus; give another folder, or remove this one"
            )
        return None if begun_only else state

    def write_curves(self, rows: list[dict[str, float]]) -> None:
        """Replaces curves.csv and curves.png by `rows`; the columns are the keys of all rows in order of appearance."""
        columns = list(dict.fromkeys(key for row in rows for key in row))
        with whole_file(self._curves_path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)
        draw_curves(self._curves_path.with_suffix(".png"), rows)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Holds the folder for one process, and copies earwitness' log lines to train.log, while the run lasts.

        Raises: CheckpointError when another process trains in it.
        """
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(f"{self.path}: another process trains here; wait for it, or stop it") from None
            with self._log_file():
                yield

    @contextlib.contextmanager
    def _log_file(self) -> Iterator[None]:
        handler = logging.FileHandler(self.path / "train.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        package = logging.getLogger("earwitness.training")
        level = package.level
        package.addHandler(handler)
        package.setLevel(logging.INFO)
        try:
            yield
        finally:
            package.removeHandler(handler)
            package.setLevel(level)
            handler.close()


def best_checkpoint(run_folder: Path) -> Path:
    """Where a run of a detector keeps its best network."""
    return run_folder / "best.pt"


class Diverged(EarwitnessError):
    """A loss became NaN or infinite; the message says what to change. What was saved before is kept."""

    code = "FAILED_PRECONDITION"
    reason = "TRAINING_DIVERGED"


def require_finite(loss: torch.Tensor, update: int) -> None:
    """Raises: Diverged when the loss of that update is NaN or infinite."""
    if not torch.isfinite(loss):
        raise Diverged(
            f"update {update}: the loss is {loss.item()}; the state of the last epoch is kept, lower the learning rate"
        )


def training_device(name: DeviceName) -> torch.device:
    """Where to train; "auto" is a GPU where there is one.

    Raises: InvalidArgument for "cuda" without one.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InvalidArgument("device", "got cuda, but torch finds no CUDA device here; use cpu, or auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def random_state() -> dict[str, Any]:
    """torch's random streams, for `restore_random_state`."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Continues the streams where `random_state` saw them."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def training_machine(threads: int | None, seed: int) -> Iterator[None]:
    """Threads and torch's own random stream for one run, put back afterwards; freed memory is kept for the next step.

    NumPy's small products keep to one thread: more of them only wait for each other and for torch's (a batch of
    segments took 390 ms instead of 11 ms on a busy machine). glibc returns large blocks to the kernel at once and pays
    page faults for every activation: keeping them halves the time of an update on a CPU.
    """
    keep_freed_memory()
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with threadpool_limits(1, user_api="blas"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Lets glibc's allocator reuse large blocks; nothing happens with another C library."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 2**28)
