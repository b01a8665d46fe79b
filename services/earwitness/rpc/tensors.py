"""Arrays to and from the `Tensor` message: KServe v2 type name, shape, little-endian row-major bytes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.types.v1.tensor_pb2 import Tensor

FloatTensor = NDArray[np.float32] | NDArray[np.float64]
Numbers = NDArray[np.floating] | NDArray[np.integer]
"""Of any width and byte order; bfloat16 and its like, of ml_dtypes, as well."""
WIRE_TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
"""By their KServe v2 names."""


def exact(array: NDArray[Any]) -> FloatTensor:
    """The same numbers as float32, or as float64 where float32 does not hold every one of them exactly.

    Raises: ValueError for what is no array of real numbers, and for numbers that float64 does not hold either: integers
    beyond 2^53 (most of them) and long doubles.
    """
    if array.dtype.kind not in "fiu":
        if array.dtype.kind != "V" or not np.can_cast(array.dtype, np.float32):  # those of ml_dtypes are void to numpy
            raise ValueError(f"holds {array.dtype}, no real numbers that numpy knows")
        array = array.astype(np.float32)
    for dtype in (np.float32, np.float64):
        if (found := _held(array, dtype)) is not None:
            return found
    raise ValueError(
        f"holds {array.dtype} that float64 does not hold exactly (of integers those up to 2^53 fit); take off a "
        "constant, which changes no distance, or round them to float64 yourself"
    )


def _held(array: NDArray[Any], dtype: type[np.float32] | type[np.float64]) -> FloatTensor | None:
    """The array in a type that holds each of its numbers, NaN and infinity among them; None where one is not held."""
    with np.errstate(over="ignore", invalid="ignore"):
        cast: NDArray[Any] = array.astype(dtype, copy=False)
        if array.dtype.kind == "f":
            same = (cast == array) | np.isnan(array)
        else:
            # Beyond the integer's own range the way back is undefined.
            beyond = 2.0 ** (np.iinfo(array.dtype).bits - (array.dtype.kind == "i"))
            same = (cast < beyond) & (cast.astype(array.dtype) == array)
    return cast if same.all() else None


def wire_bytes(array: FloatTensor) -> tuple[str, bytes]:
    """The type's name and the bytes of an array as they travel: little-endian, row by row.

    Raises: ValueError for another dtype than float32 or float64.
    """
    for name, dtype in WIRE_TYPES.items():
        if array.dtype.newbyteorder("<") == dtype:
            return name, array.astype(dtype, copy=False).tobytes()
    raise ValueError(f"only float32 or float64 travels; got {array.dtype}")


def encode(array: FloatTensor) -> Tensor:
    """The message of a float32 or float64 array of any shape, byte order and memory layout.

    Raises: ValueError for another dtype or a dimension of size 0, which the message cannot hold.
    """
    if array.size == 0:
        raise ValueError(f"a tensor of float32 or float64 has no dimension of size 0; got shape {array.shape}")
    datatype, data = wire_bytes(array)
    return Tensor(datatype=datatype, shape=array.shape, data=data)


def packed_floats(number: int, values: NDArray[np.float32]) -> bytes:
    """A `repeated float` field of this number, 1 to 15, as protobuf writes it: bytes of a message to be parsed.

    Source: protobuf.dev/programming-guides/encoding, packed repeated fields.
    """
    data = values.astype("<f4", copy=False).tobytes()
    length, prefix = len(data), bytearray([number << 3 | 2])
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + data


def decode(tensor: Tensor, field: str, *, rank: int | None = None) -> FloatTensor:
    """The array of a message, float32 or float64 as sent, read-only (it shares the message's bytes); all values finite.

    `field` is the tensor's path in the request, `rank` the number of dimensions.

    Raises: InvalidArgument naming `field.datatype`, `field.shape` or `field.data`.
    """
    wire_type = WIRE_TYPES.get(tensor.datatype)
    if wire_type is None:
        raise InvalidArgument(f"{field}.datatype", f"is {tensor.datatype!r}; must be 'FP32' or 'FP64'")
    shape = tuple(tensor.shape)
    if rank is not None and len(shape) != rank:
        raise InvalidArgument(f"{field}.shape", f"has {len(shape)} dimensions; must have {rank}")
    if any(size < 1 for size in shape):
        raise InvalidArgument(f"{field}.shape", f"is {_printed(shape)}; every dimension must be at least 1")
    needed = math.prod(shape) * wire_type.itemsize  # Python integers: no overflow, whatever the shape says
    if len(tensor.data) != needed:
        raise InvalidArgument(
            f"{field}.data",
            f"has {len(tensor.data)} bytes; {tensor.datatype} of shape {_printed(shape)} takes {needed}",
        )
    array = np.frombuffer(tensor.data, wire_type).reshape(shape)
    finite = np.isfinite(array)
    if not finite.all():
        index = np.unravel_index(int(np.argmin(finite)), shape)
        raise InvalidArgument(
            f"{field}.data", f"is {array[index]} at {[int(i) for i in index]}; every value must be finite"
        )
    return array.astype(wire_type.newbyteorder("="), copy=False)


def _printed(shape: tuple[int, ...]) -> str:
    """A shape for a message, shortened: its length is up to the caller."""
    return str(list(shape)) if len(shape) <= 8 else f"{list(shape[:8])}… ({len(shape)} dimensions)"
