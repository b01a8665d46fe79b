"""A count for each test, which holds the promises that all of them check, and a small bundle."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.tally import RECORD, Tally
from tests.helpers.tiny_bundle import TinyBundle, write_tiny_bundle


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts the test's calls; at its end, nothing may have hung, been wrong or been refused for good."""
    counted = Tally(request.node.name.removeprefix("test_"))
    yield counted
    if RECORD in os.environ:
        counted.record(Path(os.environ[RECORD]))
    counted.require_promises()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """The bundle `tiny` alone in its repository."""
    return write_tiny_bundle(tmp_path_factory.mktemp("models"))
