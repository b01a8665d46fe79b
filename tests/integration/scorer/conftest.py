"""One scorer per test, on a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.integration.scorer.running import Running, running


@pytest_asyncio.fixture
async def scorer(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as scorer:
        yield scorer
