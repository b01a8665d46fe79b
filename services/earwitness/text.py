"""Plain text as others wrote it, and JSON that others can read."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def plain_text(path: Path) -> str:
    """A text file in UTF-8 or, as old label files and lists are, in Latin-1."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def json_text(document: Any) -> str:
    """One JSON document; NaN and infinity, which JSON lacks, become null, and values of other kinds text."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
