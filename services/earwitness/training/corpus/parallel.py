"""Worker processes: one thread each, none that outlives its parent, results in order."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, the items done and the items there are."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Progress nobody watches."""


@contextmanager
def worker_pool(workers: int, preload: Sequence[str], tasks_per_process: int | None = None) -> Iterator[Executor]:
    """Worker processes that begin with the modules of `preload`; on failure or Ctrl-C what has not begun is dropped."""
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    context.set_forkserver_preload(list(preload))
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker, max_tasks_per_child=tasks_per_process)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def run_all(
    pool: Executor,
    work: Callable[[Item], Result],
    items: Sequence[Item],
    stage: str,
    progress: Progress,
    done_before: int = 0,
) -> list[Result]:
    """`work` of every item, in the items' order; `progress` counts them after the `done_before` of an earlier run."""
    futures = [pool.submit(work, item) for item in items]
    total = done_before + len(futures)
    progress(stage, done_before, total)
    for done, future in enumerate(as_completed(futures), start=done_before + 1):
        future.result()
        progress(stage, done, total)
    return [future.result() for future in futures]


def _begin_worker() -> None:
    """One thread per worker, and no worker that outlives a killed build."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
