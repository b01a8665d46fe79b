"""Where state and downloads lie on a user's machine."""

import os
from pathlib import Path


def data_folder() -> Path:
    """`earwitness` in the user's data folder: the services' databases, logs, word of a running stack."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share").expanduser() / "earwitness"


def cache_folder() -> Path:
    """`$EARWITNESS_CACHE`, or `earwitness` in the user's cache folder: what can be fetched again."""
    if configured := os.environ.get("EARWITNESS_CACHE"):
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "earwitness"
