"""A write that was begun is over when those who began it go on: what they write next would meet it in the database."""

import asyncio
import threading

import pytest

from earwitness.explainer.state import SearchState
from earwitness.explainer.sweep.checkpoints import BlockState, to_the_end
from earwitness.explainer.sweep.store import Checkpoint
from earwitness.storage import blobs
from earwitness.vocabulary.search import Row
from tests.unit.explainer.analytic import plan_rows

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


class Kept:
    """A store of one block, which keeps no curves of it."""

    def __init__(self) -> None:
        self.written = 0

    def checkpoint(self, *_: object) -> None:
        self.written += 1

    def curves(self, key: int, number: int) -> list[bytes]:
        return []


async def test_a_block_that_has_not_begun_is_not_saved_and_opens_where_it_began() -> None:
    """As where a server stops when a block was just opened; versions before saved it, without any curves."""
    plan = plan_rows([Row(seed=0)])
    block, store = BlockState(0, SearchState(plan)), Kept()
    await block.save(store, None)
    assert store.written == 0
    before = Checkpoint(0, blobs.encode(block.state.save()))
    opened = await BlockState.open(0, plan, before, store, 1)
    assert opened.state.step == 0
    assert (opened.state.save()["best_latents"] == plan.first_latents).all()
