"""Plain text as others wrote it, JSON that others can read, and times in words."""

import codecs
import gzip
import io
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_GZIP = b"\x1f\x8b"
_KINDS = {
    _GZIP: "compressed by gzip, cut off, too long or a tar archive; unpack it",
    b"PK\3\4": "a zip archive; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"BZh": "compressed by bzip2; unpack it",
    b"\x93NUMPY": "an array of numpy",
    b"RIFF": "a sound file",
    b"fLaC": "a sound file",
}
_LONGEST = 2**30
"""Bytes that a compressed text may unfold to."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks; that of UTF-32 begins with that of UTF-16."""


def plain_text(path: Path) -> str:
    """A text file in UTF-8, in UTF-16 (as Windows and Excel write it) or UTF-32, with a byte order mark or without, or,
    as old label files and lists are, in Latin-1; one compressed by gzip as well. What is none of these may hold zeros.

    Raises: OSError.
    """
    content = _unfolded(path.read_bytes())
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None) or _unmarked(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("latin-1")


def kind_of(path: Path) -> str:
    """What a file is that is no text, in words, as far as its first bytes say so; else nothing.

    Raises: OSError.
    """
    with path.open("rb") as file:
        begin = file.read(512)
    if begin[257:262] == b"ustar":
        return "a tar archive; unpack it"
    return next((words for mark, words in _KINDS.items() if begin.startswith(mark)), "")


def _unfolded(content: bytes) -> bytes:
    """Content as it is, or what gzip made it of, if that is whole and not too long."""
    if not content.startswith(_GZIP):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unfolded = file.read(_LONGEST + 1)
    except (OSError, EOFError, zlib.error):
        return content
    return unfolded if len(unfolded) <= _LONGEST and unfolded[257:262] != b"ustar" else content


def _unmarked(content: bytes) -> str:
    """The encoding of a text without a byte order mark: UTF-16 has a zero beside each letter of ASCII."""
    even, odd = content[::2], content[1::2]
    if content and not len(content) % 2:
        if 2 * odd.count(0) > len(odd) and not even.count(0):
            return "utf-16-le"
        if 2 * even.count(0) > len(even) and not odd.count(0):
            return "utf-16-be"
    return "utf-8"


def json_text(document: Any) -> str:
    """One JSON document; NaN and infinity, which JSON lacks, become null, and values of other kinds text."""
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def duration(seconds: float) -> str:
    """A time as precise as an estimate deserves: `1 s`, `89 s`, `2 min`, `1 h 31 min`."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
