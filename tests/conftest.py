"""Every process of the tests computes on one thread, those it starts too: they run side by side, on small arrays.

And each has a cache of numba's of its own, which librosa compiles into: of two that fill the same one at once, one may
find the other's code there and crash.
"""

import os
from collections.abc import Iterator
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy and torch are imported, which read them then
os.environ["NUMBA_CACHE_DIR"] = str(
    Path(__file__).parents[1] / "out/numba" / os.environ.get("PYTEST_XDIST_WORKER", "alone")
)

import pytest  # noqa: E402

from tests.helpers.cpu_times import CpuTimes  # noqa: E402
from tests.helpers.postgresql import PostgresServer, postgres_server  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuTimes())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A PostgreSQL for the tests of one process; each test makes a database of its own."""
    with postgres_server() as server:
        yield server
