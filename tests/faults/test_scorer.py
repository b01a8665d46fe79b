"""A scorer that is stopped under load, and one that is away when explanations are to be scored and sweeps ranked."""

import asyncio
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import grpc

from earwitness.client import ExplainerClient, Objective, ScorerClient, Search, Selection, Settings
from earwitness.client.explaining import explain_and_score
from earwitness.client.output import Run
from earwitness.client.references import identity_of
from earwitness.explainer.v1 import explainer_pb2
from earwitness.rpc.errors import RpcFailure
from tests.faults.appending import CALLERS, Appending, scorer_process
from tests.faults.searches import close, sweep
from tests.faults.tally import Tally
from tests.helpers.services import service
from tests.helpers.tiny_bundle import OUTPUTS, TinyBundle
from tests.integration.explainer.sweeping import Sweeping
from tests.integration.scorer.running import creation, rows_of

STEPS = 3000


async def test_scorer_stopped(tally: Tally, tmp_path: Path) -> None:
    """SIGTERM under load: what is acknowledged is there after it, and counts once however often it is sent again."""
    appending = Appending(tally)
    async with scorer_process(data_dir=tmp_path, drain_notice_s=0) as (process, scorer):
        await scorer.stub.CreateReference(creation())
        sending = asyncio.create_task(appending.run(scorer))
        while len(appending.acknowledged) < CALLERS:  # noqa: ASYNC110 -- the callers have no event
            await asyncio.sleep(0.005)
        process.process.send_signal(signal.SIGTERM)
        tally.injections += 1
        await sending
        assert await process.ended() == 0
    assert tally.retryable["UNAVAILABLE"] > 0
    async with scorer_process(data_dir=tmp_path) as (_, scorer):
        await appending.judge_kept(scorer)
        await appending.judge_whole(scorer)


async def test_scorer_down(tiny: TinyBundle, tally: Tally, tmp_path: Path) -> None:
    """Explanations and sweeps are not lost with their scores: both can be had when the scorer is back."""
    models = {"backend": "local", "model_repository": tiny.repository, "local_threads": 1}
    pace = {"sweep_yield_s": 0, "progress_interval_s": 0.01}
    asked = Search.of("tiny", Objective("fc3", 0), row_count=4, settings=Settings(steps=STEPS))
    with_reference = sweep(4, STEPS, reference="references/r")
    async with AsyncExitStack() as opened:
        process, _ = await opened.enter_async_context(scorer_process(data_dir=tmp_path))
        explainer = await opened.enter_async_context(
            service("explainer", data_dir=tmp_path, scorer_address=process.address, **models, **pace)
        )
        client = await opened.enter_async_context(ExplainerClient(explainer.address))
        scorer = await opened.enter_async_context(ScorerClient(process.address))
        sweeping = Sweeping.of(explainer.channel)
        await scorer.create_reference("r", identity=identity_of(tiny.metadata, "fc3"), selection=Selection())
        await scorer.append_activations("r", "real", rows_of(100, units=OUTPUTS))
        await scorer.freeze_reference("r")
        whole = await explain_and_score(client, asked, scorer=scorer, reference="r", artefacts=())
        await sweeping.wait(whole_id := await sweeping.create(with_reference))
        (ranked,) = (await sweeping.get(whole_id)).rankings
        assert whole.scoring is not None
        assert not ranked.error

        disturbed_id = await sweeping.create(with_reference)
        begun = asyncio.Event()
        call = explain_and_score(
            client, asked, scorer=scorer, reference="r", artefacts=(), on_progress=lambda _: begun.set()
        )
        explaining = asyncio.create_task(tally.call(call))
        await begun.wait()
        await process.kill()
        tally.injections += 1
        run = await explaining
        assert isinstance(run, Run)
        assert run.scoring is None
        assert run.unscored is not None
        assert run.unscored.code is grpc.StatusCode.UNAVAILABLE
        tally.judge(same(run, whole))
        assert (await sweeping.wait(disturbed_id)).HasField("response")
        (unranked,) = (await sweeping.get(disturbed_id)).rankings
        assert "gives no answer" in unranked.error
        refused = await tally.call(sweeping.create(with_reference))
        assert isinstance(refused, RpcFailure)
        assert refused.reason == "SCORER_UNAVAILABLE"

        await opened.enter_async_context(scorer_process(data_dir=tmp_path, port=process.port))
        again = await tally.persist(
            partial(explain_and_score, client, asked, scorer=scorer, reference="r", artefacts=())
        )
        assert again.scoring is not None
        tally.judge(again.scoring.scored.score == whole.scoring.scored.score)
        request = explainer_pb2.RankSweepRequest(name=f"sweeps/{disturbed_id}")
        later = await tally.persist(partial(sweeping.explainer.RankSweep, request))
        tally.judge(list(later.rankings) == [ranked])


def same(found: Run, expected: Run) -> bool:
    """Whether two runs have the same explanations."""
    return all(
        close(mine.latent, theirs.latent)
        for mine, theirs in zip(found.result.explanations, expected.result.explanations, strict=True)
    )
