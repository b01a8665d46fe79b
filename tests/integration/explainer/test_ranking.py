"""The explainer as the scorer's caller: its token is read again, and a scorer that is busy is no verdict."""

from pathlib import Path

import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.errors import ReferenceUnusable, ScorerUnavailable
from earwitness.explainer.scorer_client import ScorerClient
from tests.integration.scorer.running import running


async def ask(ranker: ScorerClient) -> None:
    await ranker.find("references/nothing", "reference")


async def test_a_token_that_was_changed_is_used(tmp_path: Path) -> None:
    accepted, own = tmp_path / "accepted", tmp_path / "own"
    accepted.write_text("first explain explainer\n")
    own.write_text("first\n")
    async with running(tmp_path, token_file=accepted) as scorer:
        ranker = ScorerClient(f"127.0.0.1:{scorer.port}", token_file=own)
        with pytest.raises(InvalidArgument, match="does not exist"):  # which it says to those it lets in
            await ask(ranker)
        accepted.write_text("another explain explainer\n")
        with pytest.raises(ReferenceUnusable, match="not accepted"):
            await ask(ranker)
        own.write_text("another\n")
        with pytest.raises(InvalidArgument, match="does not exist"):
            await ask(ranker)
        await ranker.close()


async def test_a_scorer_with_too_many_calls_is_asked_again_later(tmp_path: Path) -> None:
    async with running(tmp_path, caller_rpcs_per_s=0.001, caller_burst_rpcs=1) as scorer:
        ranker = ScorerClient(f"127.0.0.1:{scorer.port}")
        with pytest.raises(InvalidArgument):
            await ask(ranker)
        with pytest.raises(ScorerUnavailable, match="try again"):
            await ask(ranker)
        await ranker.close()
