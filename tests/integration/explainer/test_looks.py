"""What one explanation asks of the inference server: one look at the model, each iterate, and what was found."""

from collections import Counter
from typing import Any

import pytest

from earwitness.client import ExplainerClient, Objective, Search, Settings
from earwitness.client.explaining import explain_and_score
from tests.integration.explainer.running import Running, Slowed

TEN_STEPS = Search.of("tiny", Objective("fc3", 0), row_count=4, settings=Settings("adam", 0.01, 0.001, 10))
ITERATES = 11
FOUND = {"tiny_search": ITERATES, "tiny_generator": 1, "tiny_classifier": 1}


@pytest.fixture
def asked(explainer: Running, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the inference server was asked for what: the name of a served model, or a "look" at all that there
    are, which is one call to Triton once it has told their configurations."""
    seen: Counter[str] = Counter()
    infer, bundles = explainer.backend.infer, explainer.backend.bundles

    async def counted(served_name: str, *of: Any, **how: Any) -> Any:
        seen[served_name] += 1
        return await infer(served_name, *of, **how)

    async def looked() -> Any:
        seen["look"] += 1
        return await bundles()

    monkeypatch.setattr(explainer.backend, "infer", counted)
    monkeypatch.setattr(explainer.backend, "bundles", looked)
    monkeypatch.setattr("earwitness.explainer.explainer.LOOK_S", 3600.0)
    return seen


async def test_one_explain_is_one_look_at_the_model(explainer: Running, asked: Counter[str]) -> None:
    """It was three, and two questions of the client."""
    async with ExplainerClient(f"127.0.0.1:{explainer.server.port}") as client:
        await client.explain(TEN_STEPS)  # the first search tries the gradients of its layers, too
        asked.clear()
        model = await client.get_model("tiny")
        await explain_and_score(client, TEN_STEPS, model=model)
        assert asked == {"look": 1, **FOUND}
        await client.get_model("tiny")
        asked.clear()
        await client.explain(TEN_STEPS)
        assert asked.total() <= 10 + 3


async def test_a_look_serves_one_search_soon_and_over_the_same_connection(
    explainer: Running, asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ExplainerClient(f"127.0.0.1:{explainer.server.port}") as client:
        await client.get_model("tiny")
        for looks in (0, 1):
            asked.clear()
            await client.explain(TEN_STEPS)
            assert asked["look"] == looks
        await client.get_model("tiny")
        monkeypatch.setattr(Slowed, "generation", property(lambda _: 7))
        asked.clear()
        await client.explain(TEN_STEPS)
        assert asked["look"] == 1
        await client.get_model("tiny")
        monkeypatch.setattr("earwitness.explainer.explainer.LOOK_S", -1.0)
        asked.clear()
        await client.explain(TEN_STEPS)
        assert asked["look"] == 1
