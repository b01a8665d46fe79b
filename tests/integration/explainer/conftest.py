"""The tiny bundle's repository, and a server on it with the default settings."""

from collections.abc import AsyncIterator

import pytest

from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle
from tests.integration.explainer.running import Running, running


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """The bundle `tiny` alone in its repository."""
    return write_tiny_bundle(tmp_path_factory.mktemp("explainer-models"))


@pytest.fixture
async def explainer(tiny: TinyBundle) -> AsyncIterator[Running]:
    """A server with the default settings."""
    async with running(tiny) as started:
        yield started
