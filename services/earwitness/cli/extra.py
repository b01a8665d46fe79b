"""What the commands around training share: the packages of an extra, and log lines."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from earwitness.errors import FailedPrecondition


class MissingPackage(FailedPrecondition):
    """A package of an extra is not installed."""

    reason = "MISSING_PACKAGE"


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Run a block that needs the packages of an extra; if stderr is not a terminal, log lines replace progress bars.

    Raises: MissingPackage, which says what to install.
    """
    with _log_lines(), packages_of(name):
        yield


@contextmanager
def packages_of(name: str) -> Iterator[None]:
    """Run a block that imports the packages of an extra. Raises: MissingPackage saying what to install."""
    try:
        yield
    except ModuleNotFoundError as err:
        if err.name is None or err.name.startswith("earwitness"):
            raise
        package = err.name.partition(".")[0]
        raise MissingPackage(
            f"this needs {package}, which is not installed; `make install` in the checkout installs the extra "
            f"{name!r} and all it needs"
        ) from err


@contextmanager
def _log_lines() -> Iterator[None]:
    """Log to stderr, if there is no terminal for a progress bar."""
    logger = logging.getLogger("earwitness")
    if sys.stderr.isatty():
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
