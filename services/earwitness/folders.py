"""Where state and downloads lie on a user's machine, and what came with the package."""

import os
from pathlib import Path


def data_folder() -> Path:
    """`earwitness` in the user's data folder: the services' databases, logs, the state file of a running stack."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share").expanduser() / "earwitness"


def cache_folder() -> Path:
    """`$EARWITNESS_CACHE`, or `earwitness` in the user's cache folder: what can be fetched again."""
    if configured := os.environ.get("EARWITNESS_CACHE"):
        return Path(configured).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "earwitness"


def shipped(name: str) -> Path:
    """What comes with the code beside the package: `name` from the top of a checkout, or as the wheel carries it.

    The wheel holds it in `shipped/` under the same name (pyproject.toml). Whether it is there is for the
    caller to see.
    """
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / name
    return Path(__file__).parent / "shipped" / name
