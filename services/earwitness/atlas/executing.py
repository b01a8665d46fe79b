"""Who does the parts of an atlas: threads of this process, or the workers of a Dask cluster, as an `Executor`."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from earwitness import __version__
from earwitness.errors import FailedPrecondition, Unavailable

CONNECT_S = 10.0
AHEAD = 4
"""Parts that wait for each worker, so that none is idle between two; more would only take memory."""


@dataclass(frozen=True)
class Workers:
    """An executor, how many parts it does at once (that may change), and where, in words."""

    executor: Executor
    capacity: Callable[[], int]
    description: str

    def run(
        self, function: Callable[..., Any], parts: Sequence[tuple[Any, ...]], take: Callable[[int, Any], None]
    ) -> None:
        """Call `function` with the arguments of every part; `take`, in this thread, gets each part's index and result
        as it comes. The first failure ends all.

        Raises: what `function` or `take` raises.
        """
        waiting: dict[Future[Any], int] = {}
        rest = iter(enumerate(parts))
        try:
            while True:
                while len(waiting) < max(1, self.capacity()) * AHEAD and (part := next(rest, None)) is not None:
                    waiting[self.executor.submit(function, *part[1])] = part[0]
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    take(waiting.pop(future), future.result())
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def threads(count: int | None = None) -> Iterator[Workers]:
    """So many threads, by default one for each core that this process may use: what takes long, releases the GIL."""
    number = count or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(number, thread_name_prefix="atlas") as executor:
        yield Workers(executor, lambda: number, f"{number} thread{'s' if number > 1 else ''}")


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """The workers of the Dask scheduler at `address`, e.g. tcp://10.0.0.1:8786; those that join later, too.

    A worker that goes takes nothing with it but time: what it was doing is done again elsewhere.

    Raises: Unavailable where no scheduler answers, or it has no worker; FailedPrecondition for another version of
    distributed or earwitness than here, naming both; ModuleNotFoundError without the package `distributed`.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as err:
        why = str(err) if isinstance(err, ValueError) else "no scheduler answers there"
        raise Unavailable(f"cluster {address}: {why}; start one (dask scheduler), or leave --cluster out") from err
    try:
        _require_same(client, address)
        with client.get_executor(pure=False) as executor:
            count = len(client.scheduler_info(n_workers=-1)["workers"])
            yield Workers(executor, lambda: sum(client.ncores().values()), f"{count} Dask workers at {address}")
    finally:
        client.close()


def _require_same(client: Any, address: str) -> None:
    """Raises: Unavailable, FailedPrecondition as `cluster`."""
    import distributed

    versions = client.get_versions()
    theirs = {f"worker {name}": found for name, found in versions["workers"].items()}
    theirs["its scheduler"] = versions["scheduler"]
    for who, found in theirs.items():
        has = None if found is None else found["packages"].get("distributed")
        if has != distributed.__version__:
            raise FailedPrecondition(
                f"cluster {address}: {who} has distributed {has}, here is {distributed.__version__}; install the same"
            )
    if not versions["workers"]:
        raise Unavailable(f"cluster {address}: it has no worker; start one (dask worker {address})")
    try:
        found_versions = client.run(earwitness_version)
    except ModuleNotFoundError as err:
        raise FailedPrecondition(
            f"cluster {address}: a worker has no {err.name}; install earwitness {__version__} there"
        ) from err
    for worker, found in found_versions.items():
        if found != __version__:
            raise FailedPrecondition(
                f"cluster {address}: worker {worker} has earwitness {found}, here is {__version__}; install the same"
            )


def earwitness_version() -> str:
    """That of the process that runs it."""
    return __version__
