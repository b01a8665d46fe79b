"""Freezes that take long, in processes of their own: equal ones are one, and one that nobody waits for is ended."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from earwitness.rpc.errors import error_from_rpc
from earwitness.scorer.freezing import LIGHT_UNITS
from earwitness.scorer.v1 import scorer_pb2 as pb
from tests.integration.scorer.running import Running, creation, parts, rows_of, running, scoring

WIDE = LIGHT_UNITS + 8
LARGE = pb.FreezeReferenceRequest(name="references/large")
PATIENCE_S = 60.0


def folding() -> list[int]:
    """The processes that fold for this one."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread or a process that has just ended
            for pid in map(int, (task / "children").read_text().split()):
                if b"earwitness.scorer.folding" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 -- another process changes it
            await asyncio.sleep(0.001)


@asynccontextmanager
async def held_up() -> AsyncIterator[int]:
    """Within the block, the process that folds makes no step."""
    await until(lambda: len(folding()) == 1)
    (pid,) = folding()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        if pid in folding():
            os.kill(pid, signal.SIGCONT)


async def large(scorer: Running, **changes: object) -> None:
    await scorer.stub.CreateReference(creation("large", unit_count=WIDE, **changes))
    await scorer.append(parts(rows_of(WIDE + 40, units=WIDE), reference="references/large"))


async def test_what_a_process_folds_scores_as_what_a_thread_does(
    scorer: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reference of many shards goes to a process, the same rows as one shard do not."""
    monkeypatch.setattr("earwitness.scorer.freezing.LIGHT_SHARDS", 20)
    rows = rows_of(42)
    await scorer.stub.CreateReference(creation())
    for index in range(0, len(rows), 2):
        await scorer.append(parts(rows[index : index + 2], shard_id=f"s{index}"))
    assert (await scorer.freeze()).selected_count == len(rows)
    await scorer.frozen_reference(rows, "one")
    batch = rows_of(30, seed=9) + np.float32(0.3)
    apart = (await scorer.stub.Score(scoring(batch))).score
    here = (await scorer.stub.Score(scoring(batch, reference="references/one"))).score
    for field, value in here.ListFields():
        assert getattr(apart, field.name) == pytest.approx(value, rel=1e-9), field.name


async def test_equal_freezes_are_one_and_small_calls_go_on_beside_it(scorer: Running) -> None:
    await scorer.frozen_reference(rows_of(10))
    await large(scorer)
    calls = [asyncio.ensure_future(scorer.freeze("large")) for _ in range(6)]
    async with held_up():
        await scorer.stub.Score(scoring(rows_of(5)))
        await scorer.append(parts(rows_of(3), shard_id="more"))
        assert len(folding()) == 1
    versions = {each.name for each in await asyncio.gather(*calls)}
    assert versions == {"references/large/versions/1"}
    assert scorer.metric("scorer_freeze_seconds_count") == 2, "one for each reference"


async def test_a_freeze_ends_with_the_last_who_waits(scorer: Running) -> None:
    await large(scorer)
    first = scorer.stub.FreezeReference(LARGE)

    async def one_waits_for_a_while() -> None:
        """What came before it on the connection has arrived when its time is up."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await scorer.stub.FreezeReference(LARGE, timeout=1)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

    async with held_up() as pid:
        second = scorer.stub.FreezeReference(LARGE)
        await one_waits_for_a_while()
        first.cancel()
        await one_waits_for_a_while()
        assert folding() == [pid], "one still waits"
        second.cancel()
        await until(lambda: not folding())
    name = pb.GetReferenceRequest(name="references/large")
    assert not (await scorer.stub.GetReference(name)).reference.versions
    assert (await scorer.freeze("large")).selected_count == WIDE + 40


async def test_long_freezes_wait_for_their_turn_and_only_so_many(tmp_path: Path) -> None:
    async with running(tmp_path, max_waiting_freezes=1) as scorer:
        await large(scorer)
        for index in (1, 2):
            await scorer.stub.CreateReference(creation(f"large{index}", unit_count=WIDE))
            await scorer.append(parts(rows_of(WIDE + 40, units=WIDE), reference=f"references/large{index}"))
        running_one = asyncio.ensure_future(scorer.freeze("large"))
        async with held_up():
            others = {asyncio.ensure_future(scorer.freeze(name)) for name in ("large1", "large2")}
            refused, waiting = await asyncio.wait(others, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            failure = error_from_rpc(refused.pop().exception())
            assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_FREEZES")
        assert [(await each).name for each in (running_one, *waiting)] in (
            ["references/large/versions/1", "references/large1/versions/1"],
            ["references/large/versions/1", "references/large2/versions/1"],
        )


async def test_a_process_that_the_system_ends(scorer: Running) -> None:
    await large(scorer)
    call = asyncio.ensure_future(scorer.refusal("FreezeReference", LARGE))
    async with held_up() as pid:
        os.kill(pid, signal.SIGKILL)
    failure = await call
    assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "FREEZE_TOO_LARGE")
    assert "memory" in failure.message
    assert (await scorer.freeze("large")).selected_count == WIDE + 40


async def test_a_shard_that_comes_meanwhile_is_in_the_freeze_that_was_asked_for_after_it(scorer: Running) -> None:
    await large(scorer)
    before = asyncio.ensure_future(scorer.freeze("large"))
    async with held_up():
        more = rows_of(7, seed=5, units=WIDE)
        await scorer.append(parts(more, reference="references/large", shard_id="more"))
        after = asyncio.ensure_future(scorer.freeze("large"))
        await asyncio.sleep(0.1)
    assert (await before).row_count == WIDE + 40
    assert (await after).row_count == WIDE + 47
