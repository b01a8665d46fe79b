"""Values that tend to break things, by the type of a field."""

import math
import struct
from random import Random

from google.protobuf.descriptor import FieldDescriptor

INTEGERS = (0, 1, -1, 2, 3, 7, 127, 128, 255, 256, 1000, 1001, 4095, 4096, 4097, 65_535, 65_536, 10**6, 10**9 + 1)
EDGES_32 = (2**31 - 1, -(2**31), 2**31 - 2)
EDGES_64 = (*EDGES_32, 2**31, 2**32, 2**32 + 1, 2**53 + 1, 315_576_000_000, 315_576_000_001, 2**63 - 1, -(2**63))
FLOATS = (
    *(0.0, -0.0, 1.0, -1.0, 0.5, 1e-3, 9.999, 10.0, 10.001, 999.9, 1000.1, 1e6, 1e-7),
    *(1e-45, -1e-45, 1.1754944e-38, 3.4028234e38, -3.4028234e38, math.nan, -math.nan, math.inf, -math.inf),
)  # fmt: skip
DOUBLES = (*FLOATS, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 3.5e38)
TEXTS = (
    *("", " ", "\n", "\t", "\0", "a", "A", "0", "-", "/", "//", ".", "..", "*", "%", "%s%n", "{0}", "${x}", "\\"),
    *("'", '"', "../../etc/passwd", "models/../models/tiny", "models/..%2f..", "/dev/zero", "file:///etc/passwd"),
    *("models/", "references/", "sweeps/", "operations/", "operations", "models/TINY", "models/tiny/", " models/tiny"),
    *("models/tiny\n", "models/tiny\0", "models/tiny_search", "models/none", "references/none", "sweeps/none"),
    *("references/whole/versions/1", "references/whole/versions/0", "references/whole/versions/-1"),
    *("references/whole/versions/999999999999999999", "references/whole/versions/9999999999999999999"),
    *("references/whole/versions/1/versions/1", "references/whole/versions/", "references//versions/1"),
    *("'; DROP TABLE reference; --", '" OR 1=1', "null", "None", "NaN", "true", "-1", "1e309", "0x10"),
    *("ünïcödé", "моделі/тест", "模型", "🎧", "a\u0301", "\u202e", "\ufeff", "\ufffd", "\U0010ffff", "ﬀ", "İ", "ß"),
    *("FP16", "FP32", "FP64", "fp32", "INT64", "BYTES", "conv1", "fc2", "fc3", "CONV1", "fc3 "),
    *("00000000-0000-0000-0000-000000000000", "6f4c1f0e-8c43-1b5e-9d5a-0c9f2e7d1a34"),
    *("6F4C1F0E-8C43-4B5E-9D5A-0C9F2E7D1A34", "{6f4c1f0e-8c43-4b5e-9d5a-0c9f2e7d1a34}", "not-a-uuid"),
    *("ab" * 32, "AB" * 32, "ab" * 31, "gg" * 32, "Z2FyYmFnZQ==", "====", "AAAA", '"0000000000000000"', "W/\"x\""),
)  # fmt: skip
LENGTHS = (62, 63, 64, 199, 200, 201, 999, 1000, 1001, 9000, 100_000)
NUMBER_BYTES = tuple(
    struct.pack("<f", value) for value in (math.nan, math.inf, -math.inf, 3.4e38, -3.4e38, 1e-45, 0.0, -0.0)
) + tuple(struct.pack("<d", value) for value in (math.nan, math.inf, 1.7e308, 3.5e38, 5e-324))

_INTEGER_TYPES = {FieldDescriptor.CPPTYPE_INT32: EDGES_32, FieldDescriptor.CPPTYPE_INT64: EDGES_64}


def scalar(field: FieldDescriptor, random: Random, names: tuple[str, ...]) -> object:
    """A value for one entry of a field that holds no messages; `names` are those that exist at the server."""
    kind = field.cpp_type
    if kind in _INTEGER_TYPES:
        return random.choice((*INTEGERS, *_INTEGER_TYPES[kind]))
    if kind == FieldDescriptor.CPPTYPE_FLOAT:
        return random.choice(FLOATS)
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        return random.choice(DOUBLES)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return random.choice((0, 1, 2, 3, 4, 99, -1, *EDGES_32))
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return random.random() < 0.5
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return text(random, names) if field.type == FieldDescriptor.TYPE_STRING else some_bytes(random)
    raise TypeError(f"no values for {field.full_name}: say here what it may be")


def text(random: Random, names: tuple[str, ...]) -> str:
    """A name that exists, one that nobody should take, or a long one."""
    way = random.random()
    if way < 0.3:
        return random.choice(names)
    if way < 0.9:
        return random.choice(TEXTS)
    return random.choice(("a", "Z", "é", "🎧", "\x7f", "../", "%25")) * random.choice(LENGTHS)


def some_bytes(random: Random) -> bytes:
    """Random bytes, or numbers of which some are none."""
    if random.random() < 0.5:
        return random.randbytes(random.choice((0, 1, 3, 4, 8, 31, 32, 33, 160, 1000)))
    return b"".join(random.choices(NUMBER_BYTES, k=random.choice((1, 2, 8, 80))))
