"""Slots and places to wait."""

import asyncio

import pytest

from earwitness.explainer.admission import Admission
from earwitness.explainer.errors import TooManySearches


async def hold(admission: Admission, until: asyncio.Event, order: list[int], number: int) -> None:
    async with admission.slot():
        order.append(number)
        await until.wait()


async def test_runs_waits_then_refuses() -> None:
    admission, go, order = Admission(max_running=2, max_waiting=1), asyncio.Event(), []
    tasks = [asyncio.create_task(hold(admission, go, order, number)) for number in range(3)]
    await asyncio.sleep(0)
    assert (admission.running, admission.waiting) == (2, 1)
    with pytest.raises(TooManySearches, match=r"2 searches run .* 1 wait") as caught:
        async with admission.slot():
            pass
    assert caught.value.retry_after_s > 0
    go.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert (admission.running, admission.waiting) == (0, 0)


async def test_a_cancelled_holder_makes_room_for_the_next() -> None:
    admission, never, order = Admission(max_running=1, max_waiting=1), asyncio.Event(), []
    first, second = (asyncio.create_task(hold(admission, never, order, number)) for number in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert order == [0, 1]
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    async with admission.slot():
        assert (admission.running, admission.waiting) == (1, 0)


async def test_a_cancelled_waiter_gives_its_place_back() -> None:
    admission, never, order = Admission(max_running=1, max_waiting=1), asyncio.Event(), []
    first, second = (asyncio.create_task(hold(admission, never, order, number)) for number in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert (admission.running, admission.waiting) == (1, 0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_without_places_to_wait_the_next_is_refused_at_once() -> None:
    admission = Admission(max_running=1, max_waiting=0)
    async with admission.slot():
        with pytest.raises(TooManySearches):
            async with admission.slot():
                pass
    async with admission.slot():
        assert admission.running == 1


async def test_when_to_come_back_follows_how_long_searches_take() -> None:
    admission = Admission(max_running=1, max_waiting=0)

    async def advice() -> float:
        async with admission.slot():
            with pytest.raises(TooManySearches) as caught:
                async with admission.slot():
                    pass
        return caught.value.retry_after_s

    first = await advice()
    for _ in range(20):
        async with admission.slot():
            await asyncio.sleep(0.001)
    assert await advice() < first / 10
