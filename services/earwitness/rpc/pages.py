"""Pages of a list that fit into one message, whatever their items weigh."""

from collections.abc import Sequence

from google.protobuf.message import Message

PAGE_BYTES = 4 * 2**20 - 2**16
"""gRPC clients accept messages of 4 MiB by default; some of that is reserved for what surrounds the items."""
ITEM_BYTES = 16
"""Tag and length of an item, at most."""


def fitting(items: Sequence[Message]) -> int:
    """How many of the first items one page holds: all, or fewer where they are too large together; at least one."""
    total = 0
    for count, item in enumerate(items):
        total += item.ByteSize() + ITEM_BYTES
        if total > PAGE_BYTES and count:
            return count
    return len(items)
