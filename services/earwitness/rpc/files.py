"""Files that an operator changes while a server runs: tokens, keys, certificates."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

Content = TypeVar("Content")
_logger = logging.getLogger(__name__)


class Watched(Generic[Content]):
    """What `read` makes of files, read again once one of them has changed; what cannot be read changes nothing.

    May be asked from any thread. To ask costs a `stat` of each file, which sees a Kubernetes secret change, too, whose
    files are links.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Content]) -> None:
        """Reads them once. Raises: whatever `read` raises."""
        self._paths = tuple(paths)
        self._read = read
        self._seen = self._stamp()
        self._content = read()

    def current(self) -> Content:
        """The content, as new as the files."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp  # a broken file is complained of once, not at every call
            names = ", ".join(path.name for path in self._paths)
            try:
                self._content = self._read()
                _logger.info("read again: %s", names)
            except Exception as err:
                _logger.error("%s cannot be used, what was read before stays in force: %s", names, err)
        return self._content

    def _stamp(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
