"""Arrays to and from the `Tensor` message: KServe v2 type name, shape, little-endian row-major bytes."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import InvalidArgument
from earwitness.types.v1.tensor_pb2 import Tensor

FloatTensor = NDArray[np.float32] | NDArray[np.float64]
_WIRE_TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}


def encode(array: FloatTensor) -> Tensor:
    """The message of a float32 or float64 array of any shape, byte order and memory layout.

    Raises: ValueError for another dtype or a dimension of size 0, which the message cannot hold.
    """
    datatype = {4: "FP32", 8: "FP64"}.get(array.dtype.itemsize, "") if array.dtype.kind == "f" else ""
    if not datatype or array.size == 0:
        raise ValueError(
            f"a tensor holds float32 or float64 and no dimension of size 0; got {array.dtype} {array.shape}"
        )
    return Tensor(datatype=datatype, shape=array.shape, data=array.astype(_WIRE_TYPES[datatype], copy=False).tobytes())


def decode(tensor: Tensor, field: str, *, rank: int | None = None) -> FloatTensor:
    """The array of a message, float32 or float64 as sent, read-only (it shares the message's bytes); all values finite.

    `field` is the tensor's path in the request, `rank` the number of dimensions.

    Raises: InvalidArgument naming `field.datatype`, `field.shape` or `field.data`.
    """
    wire_type = _WIRE_TYPES.get(tensor.datatype)
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
