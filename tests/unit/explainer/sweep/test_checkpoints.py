"""A write that was begun is over when those who began it go on: what they write next would meet it in the database."""

import asyncio
import threading

import pytest

from earwitness.explainer.sweep.checkpoints import to_the_end

TURNS = 5
"""Of the event loop, in which a cancellation reaches what is awaited."""


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_write_is_over_when_it_was_cancelled(times: int) -> None:
    """More than once, as where a group of tasks is cancelled and then each of them."""
    begun, go_on, written = threading.Event(), threading.Event(), []

    def write() -> None:
        begun.set()
        assert go_on.wait(60)
        written.append(1)

    task = asyncio.create_task(to_the_end(write))
    await asyncio.to_thread(begun.wait, 60)
    for _ in range(times):
        task.cancel()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert written == [1]


async def test_a_write_that_fails_says_so() -> None:
    def write() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await to_the_end(write)


async def test_why_a_cancelled_write_failed_is_kept() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def write() -> None:
        begun.set()
        assert go_on.wait(60)
        raise OSError("disk full")

    task = asyncio.create_task(to_the_end(write))
    await asyncio.to_thread(begun.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert str(cancelled.value.__cause__) == "disk full"
