"""Files that an operator changes while a server runs: tokens, keys, certificates."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from time import time_ns
from typing import Generic, NamedTuple, TypeVar

Content = TypeVar("Content")
SETTLED_S = 2.0
"""A file changed later than this may change again without another stamp: file systems keep times of 4 ms to 2 s."""
_logger = logging.getLogger(__name__)


class _Stamp(NamedTuple):
    """What distinguishes one state of a file from another; the inode's change time cannot be set by users."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class Watched(Generic[Content]):
    """What `read` makes of files, read again once one of them has changed; what cannot be read changes nothing.

    Files whose reading failed are read again at every call until they can be: what was revoked must not stay valid
    because one reading went wrong. May be asked from any thread. To ask costs a `stat` of each file, which sees a
    Kubernetes secret change, too, whose files are links; for `SETTLED_S` after a change it costs reading them.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], Content]) -> None:
        """Reads them once. Raises: whatever `read` raises; OSError."""
        self._paths = tuple(paths)
        self._read = read
        stamps = self._stamps()
        self._bytes = self._raw()
        self._content = read()
        self._seen = _settled(stamps)
        self._complaint = ""

    def current(self) -> Content:
        """The content, as new as the files."""
        stamps = self._stamps()  # before the files are read: a change meanwhile is seen by the next call
        if stamps == self._seen:
            return self._content
        names = ", ".join(path.name for path in self._paths)
        try:
            found = self._raw()
            if found != self._bytes:
                self._content = self._read()
                self._bytes = found
                _logger.info("read again: %s", names)
            self._seen = _settled(stamps)
            self._complaint = ""
        except Exception as err:
            if str(err) != self._complaint:  # once, not at every call
                self._complaint = str(err)
                _logger.error("%s cannot be used, what was read before stays in force: %s", names, err)
        return self._content

    def _stamps(self) -> tuple[_Stamp | None, ...]:
        return tuple(_stamp(path) for path in self._paths)

    def _raw(self) -> tuple[bytes, ...]:
        return tuple(path.read_bytes() for path in self._paths)


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _settled(stamps: tuple[_Stamp | None, ...]) -> tuple[_Stamp | None, ...] | None:
    """`stamps`, to be believed from now on; None while a file is so new that its next change may not show in them."""
    latest_ns = max((each.changed_ns for each in stamps if each is not None), default=0)
    return stamps if latest_ns < time_ns() - SETTLED_S * 1e9 else None
