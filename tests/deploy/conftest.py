"""The chart, rendered by the real helm."""

import pytest

from tests.deploy.chart import Chart


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Renderings are kept: tests of one file ask for the same ones."""
    return Chart()
