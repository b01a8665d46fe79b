"""Work is shared by those who ask for it at once, and ends with the last of them."""

import asyncio

import pytest

from earwitness.scorer.joined import Joined


async def test_equal_work_is_done_once_and_the_next_anew() -> None:
    joined: Joined[str, int] = Joined()
    begun, go = 0, asyncio.Event()

    async def work() -> int:
        nonlocal begun
        begun += 1
        await go.wait()
        return begun

    calls = [asyncio.ensure_future(joined.do(key, work)) for key in "aaab"]
    await asyncio.sleep(0)
    calls[0].cancel()  # one of several who wait: the others' work goes on
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*calls[1:]) == [2, 2, 2]
    assert await joined.do("a", work) == 3


async def test_an_error_is_told_to_all() -> None:
    joined: Joined[str, int] = Joined()

    async def work() -> int:
        await asyncio.sleep(0)
        raise KeyError("x")

    found = await asyncio.gather(*(joined.do("a", work) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in found] == [KeyError] * 3


async def test_who_comes_after_the_last_has_left_begins_anew() -> None:
    joined: Joined[str, int] = Joined()
    ended = []

    async def endless() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)
        return 0

    async def quick() -> int:
        return 7

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await joined.do("a", endless)
    assert await joined.do("a", quick) == 7
    assert ended == [True]
