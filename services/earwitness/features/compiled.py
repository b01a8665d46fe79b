"""What numba compiles for librosa, half a minute's work that a new container's first sound would have to wait for."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

COMPILED, CACHE = "EARWITNESS_COMPILED", "NUMBA_CACHE_DIR"
"""Environment variables: the folder that an image holds it in, and numba's own, which has to be writable."""


def begin_cache() -> None:
    """Begin numba's cache with what was compiled before, unless there is a cache; before numba looks for it."""
    compiled, cache = (os.environ.get(name) for name in (COMPILED, CACHE))
    if not compiled or not cache or Path(cache).exists() or not Path(compiled).is_dir():
        return
    with suppress(OSError):  # another thread was first; or it cannot be written, and numba compiles as ever
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=Path(cache).parent) as copying:
            shutil.copytree(compiled, Path(copying, "all")).rename(cache)
