"""Wrong requests made of bytes: what no client library would send."""

from collections.abc import Callable
from random import Random

LENGTH_DELIMITED, START_GROUP, END_GROUP = 2, 3, 4
DEPTHS = (3, 60, 99, 100, 101, 5000)
Other = Callable[[], bytes]


def varint(value: int) -> bytes:
    """A number as protobuf writes it."""
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def mangle(data: bytes, random: Random, other: Other) -> bytes:
    """Bytes made of those of a message; `other` gives those of another one."""
    return random.choice(_WAYS)(data, random, other)


def _noise(data: bytes, random: Random, other: Other) -> bytes:
    return random.randbytes(random.choice((1, 2, 5, 10, 64, 1000, 20_000)))


def _cut(data: bytes, random: Random, other: Other) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _flip(data: bytes, random: Random, other: Other) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if data else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _insert(data: bytes, random: Random, other: Other) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.randbytes(random.choice((1, 2, 9))) + data[place:]


def _repeat(data: bytes, random: Random, other: Other) -> bytes:
    start, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * random.choice((1, 2, 30)) + data[end:]


def _splice(data: bytes, random: Random, other: Other) -> bytes:
    foreign = other()
    return data[: random.randrange(len(data) + 1)] + foreign[random.randrange(len(foreign) + 1) :]


def _merge(data: bytes, random: Random, other: Other) -> bytes:
    """Two messages one after the other are one message, by protobuf's rules."""
    return data + other()


def _foreign(data: bytes, random: Random, other: Other) -> bytes:
    return other()


def _unknown(data: bytes, random: Random, other: Other) -> bytes:
    """Fields that nobody knows, of any wire type."""
    extra = b""
    for _ in range(random.choice((1, 3, 1000))):
        number, kind = random.choice((15, 16, 1000, 536_870_911)), random.choice((0, 1, 2, 5))
        payload = {0: varint(random.getrandbits(60)), 1: bytes(8), 2: varint(3) + b"abc", 5: bytes(4)}[kind]
        extra += varint(number << 3 | kind) + payload
    return data + extra if random.random() < 0.5 else extra + data


def _wrong_wire(data: bytes, random: Random, other: Other) -> bytes:
    """A known field number with another wire type, a number 0, a length beyond the end, a varint without end."""
    number = random.randrange(1, 8)
    return data + random.choice(
        (
            varint(number << 3 | random.randrange(8)) + random.randbytes(4),
            varint(0) + b"\1",
            varint(number << 3 | LENGTH_DELIMITED) + varint(random.choice((1, 2**31 - 1, 2**32, 2**63))),
            varint(number << 3) + b"\xff" * random.choice((9, 10, 11, 500)),
            varint(number << 3 | LENGTH_DELIMITED) + varint(4) + b"\xed\xa0\x80\xff",  # no UTF-8
        )
    )


def _nested(data: bytes, random: Random, other: Other) -> bytes:
    """Messages within messages, or groups within groups, closed or not."""
    depth, number = random.choice(DEPTHS), random.randrange(1, 8)
    if random.random() < 0.5:
        start, end = varint(number << 3 | START_GROUP), varint(number << 3 | END_GROUP)
        return data + start * depth + (end * depth if random.random() < 0.7 else b"")
    body = b""
    for _ in range(min(depth, 101)):
        body = varint(number << 3 | LENGTH_DELIMITED) + varint(len(body)) + body
    return data + body


_WAYS = (_noise, _cut, _flip, _insert, _repeat, _splice, _merge, _foreign, _unknown, _wrong_wire, _nested)
