"""Small checks of request fields that both services make; each raises InvalidArgument naming the field."""

import binascii
import hashlib
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from earwitness.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
RESOURCE_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DIGEST_BYTES = 8
_MAX_DURATION_S = 315_576_000_000
"""10 000 years, the most that a Duration may be."""

Number = TypeVar("Number", int, float)
Item = TypeVar("Item")


def resource_id(name: str, collection: str, field: str) -> str:
    """The id in a resource name: "models/svd-r1" of collection "models" gives "svd-r1".

    Raises: InvalidArgument.
    """
    prefix, _, last = name.partition("/")
    if prefix != collection or not RESOURCE_ID.fullmatch(last):
        raise InvalidArgument(
            field, f"is {_quoted(name)}; must be '{collection}/' and 1 to 63 of a-z, 0-9 and -, beginning with a letter"
        )
    return last


def versioned_id(name: str, collection: str, field: str) -> tuple[str, int | None]:
    """Id and version in a resource name: "references/r/versions/3" gives ("r", 3), "references/r" gives ("r", None).

    Raises: InvalidArgument.
    """
    parent, separator, version = name.partition("/versions/")
    if separator and not re.fullmatch(r"[1-9][0-9]{0,17}", version):
        raise InvalidArgument(field, f"is {_quoted(name)}; after '/versions/' there must be a number from 1")
    return resource_id(parent, collection, field), int(version) if separator else None


def new_resource_id(value: str, field: str) -> str:
    """An id that the caller chose for a new resource.

    Raises: InvalidArgument.
    """
    if not RESOURCE_ID.fullmatch(value):
        raise InvalidArgument(field, f"is {_quoted(value)}; must be 1 to 63 of a-z, 0-9 and -, beginning with a letter")
    return value


def require_range(value: Number, field: str, *, at_least: float | None = None, at_most: float | None = None) -> Number:
    """`value` when it is finite and within the bounds given.

    Raises: InvalidArgument.
    """
    inside = math.isfinite(value) and (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    if not inside:
        bounds = {"at least": at_least, "at most": at_most}
        allowed = " and ".join(f"{words} {_printed(bound)}" for words, bound in bounds.items() if bound is not None)
        raise InvalidArgument(field, f"is {_printed(value)}; must be {allowed or 'finite'}")
    return value


def duration_s(value: Duration, field: str) -> float:
    """Seconds of a time to wait.

    Raises: InvalidArgument for one below 0, and for numbers that are no duration.
    """
    if not (0 <= value.seconds <= _MAX_DURATION_S and 0 <= value.nanos < 1_000_000_000):
        raise InvalidArgument(
            field, f"is {value.seconds} s and {value.nanos} ns; must be 0 to {_MAX_DURATION_S} s and 0 to 999999999 ns"
        )
    return float(value.seconds + value.nanos / 1e9)


def require_text(value: str, field: str, *, max_chars: int, min_chars: int = 0) -> str:
    """`value` when it is printable (line breaks and tabs allowed) and of the length given.

    Raises: InvalidArgument.
    """
    if not min_chars <= len(value) <= max_chars:
        raise InvalidArgument(field, f"has {len(value)} characters; must have {min_chars} to {max_chars}")
    if not all(each.isprintable() or each in "\n\t" for each in value):
        raise InvalidArgument(field, f"is {_quoted(value)}; must hold printable characters only")
    return value


def uuid4(value: str, field: str) -> str:
    """A UUID of version 4 in lower case.

    Raises: InvalidArgument.
    """
    try:
        parsed = UUID(value)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != 4 or str(parsed) != value.lower():
        raise InvalidArgument(
            field, f"is {_quoted(value)}; must be a UUID of version 4, e.g. 6f4c1f0e-8c43-4b5e-9d5a-0c9f2e7d1a34"
        )
    return str(parsed)


def sha256_hex(value: str, field: str) -> str:
    """A SHA-256 digest in lower-case hex.

    Raises: InvalidArgument.
    """
    if not _SHA256.fullmatch(value):
        raise InvalidArgument(field, f"is {_quoted(value)}; must be a SHA-256 digest: 64 of 0-9 and a-f")
    return value


@dataclass(frozen=True)
class PageRequest:
    """Which items a list call wants: at most `size`, those whose key comes after `after` ("" for the first page)."""

    size: int
    after: str
    filters: str

    def next_token(self, last_key: str) -> str:
        """The token of the page that follows the item of this key."""
        return urlsafe_b64encode(_digest(self.filters, last_key) + last_key.encode()).decode()


def page_request(page_size: int, page_token: str, *, filters: str = "") -> PageRequest:
    """The page asked for (AIP-158): size 0 is the default, more than the maximum is taken as the maximum.

    A token is opaque and bound to `filters`, the request's other fields as text. It holds the last key: no secret.

    Raises: InvalidArgument for a negative size, and for a token that another list or other filters gave.
    """
    if page_size < 0:
        raise InvalidArgument("page_size", f"is {page_size}; must be 0 (for {DEFAULT_PAGE_SIZE}) to {MAX_PAGE_SIZE}")
    after = ""
    if page_token:
        try:
            token = urlsafe_b64decode(page_token.encode())
            digest, after = token[:_DIGEST_BYTES], token[_DIGEST_BYTES:].decode()
        except (binascii.Error, UnicodeError):
            digest = b""
        if digest != _digest(filters, after):
            raise InvalidArgument(
                "page_token", "is not of this list; pass `next_page_token` of the previous answer with the same filters"
            )
    return PageRequest(min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE), after, filters)


def page(items: Sequence[Item], key: Callable[[Item], str], page_size: int, page_token: str) -> tuple[list[Item], str]:
    """One page of items in memory, which are sorted by their unique keys, and the token of the next ("" at the end).

    Raises: InvalidArgument as `page_request`.
    """
    wanted = page_request(page_size, page_token)
    rest = [item for item in items if key(item) > wanted.after]
    chosen = rest[: wanted.size]
    return chosen, wanted.next_token(key(chosen[-1])) if len(rest) > len(chosen) else ""


def _digest(filters: str, key: str) -> bytes:
    return hashlib.blake2b(f"{len(filters)}:{filters}{key}".encode(), digest_size=_DIGEST_BYTES).digest()


def _printed(number: float) -> str:
    """Integers in full: 1000001 is not 1e+06."""
    return str(number) if isinstance(number, int) else f"{number:g}"


def _quoted(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}… ({len(text)} characters)"
