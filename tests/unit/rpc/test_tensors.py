"""Tensors on the wire: what goes in comes out, and what is not a tensor is named."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earwitness.errors import InvalidArgument
from earwitness.rpc.tensors import decode, encode, exact
from earwitness.types.v1.tensor_pb2 import Tensor


@given(
    hnp.arrays(
        st.sampled_from([np.dtype("<f4"), np.dtype(">f4"), np.dtype("<f8"), np.dtype(">f8")]),
        hnp.array_shapes(min_dims=0, max_dims=4, max_side=5),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_round_trip(array: np.ndarray) -> None:
    got = decode(encode(array), "x", rank=array.ndim)
    assert got.dtype.isnative
    assert got.dtype.itemsize == array.dtype.itemsize
    np.testing.assert_array_equal(got, array)


def test_bytes_are_little_endian_and_row_major_whatever_the_array() -> None:
    array = np.array([[1, 2, 3], [4, 5, 6]], ">f4").T
    tensor = encode(array)
    assert tensor == Tensor(
        datatype="FP32", shape=[3, 2], data=np.array([1, 4, 2, 5, 3, 6], "<f4").tobytes()
    )  # fmt: skip
    assert tensor.data[:4] == b"\x00\x00\x80\x3f"


def test_decoding_copies_nothing() -> None:
    got = decode(encode(np.arange(6, dtype=np.float32).reshape(2, 3)), "x")
    assert not got.flags.writeable


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.float16), np.zeros(3, np.int32), np.zeros(3, complex), np.zeros((2, 0), np.float32)]
)
def test_encoding_refuses_what_the_message_cannot_hold(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="float32 or float64"):
        encode(array)


@given(
    hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes()),
        hnp.array_shapes(min_dims=0, max_dims=2, max_side=4),
    )
)
def test_exact_numbers_are_the_same_in_the_narrower_type_or_refused(array: np.ndarray) -> None:
    given = [Fraction(each) if np.isfinite(each) else str(each) for each in array.reshape(-1).tolist()]
    held = {}
    for dtype in (np.float32, np.float64):
        with np.errstate(over="ignore"):
            cast = [dtype(each) if isinstance(each, str) else dtype(float(each)) for each in given]
        held[dtype] = [Fraction(float(each)) if np.isfinite(each) else str(each) for each in cast] == given
    if held[np.float64]:
        got = exact(array)
        assert got.dtype == (np.float32 if held[np.float32] else np.float64)
        np.testing.assert_array_equal(got, array.astype(np.float64))
    else:
        with pytest.raises(ValueError, match="does not hold exactly"):
            exact(array)


EIGHT = np.ones(8, "<f4").tobytes()


@pytest.mark.parametrize(
    ("tensor", "field", "words"),
    [
        (Tensor(), "a.datatype", "is ''"),
        (Tensor(datatype="FP16", shape=[2, 8], data=EIGHT), "a.datatype", "is 'FP16'; must be 'FP32' or 'FP64'"),
        (Tensor(datatype="fp32", shape=[2, 4], data=EIGHT), "a.datatype", "is 'fp32'"),
        (Tensor(datatype="FP32", data=EIGHT), "a.shape", "has 0 dimensions; must have 2"),
        (Tensor(datatype="FP32", shape=[8], data=EIGHT), "a.shape", "has 1 dimensions; must have 2"),
        (Tensor(datatype="FP32", shape=[1] * 100_000, data=EIGHT), "a.shape", "has 100000 dimensions"),
        (
            Tensor(datatype="FP32", shape=[-2, -4], data=EIGHT),
            "a.shape",
            r"is \[-2, -4\]; every dimension must be at least 1",
        ),
        (Tensor(datatype="FP32", shape=[0, 8]), "a.shape", "at least 1"),
        (Tensor(datatype="FP32", shape=[2**62, 2**62], data=EIGHT), "a.data", f"takes {2**126}"),
        (Tensor(datatype="FP32", shape=[2**63 - 1, 2], data=EIGHT), "a.data", f"takes {2**66 - 8}"),
        (
            Tensor(datatype="FP32", shape=[2, 4], data=EIGHT[:-1]),
            "a.data",
            r"has 31 bytes; FP32 of shape \[2, 4\] takes 32",
        ),
        (Tensor(datatype="FP32", shape=[2, 4], data=EIGHT + b"\0"), "a.data", "has 33 bytes"),
        (Tensor(datatype="FP32", shape=[2, 4]), "a.data", "has 0 bytes"),
        (Tensor(datatype="FP64", shape=[2, 4], data=EIGHT), "a.data", "takes 64"),
    ],
)
def test_what_is_wrong_is_named(tensor: Tensor, field: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        decode(tensor, "a", rank=2)
    assert caught.value.field == field
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_the_first_value_that_is_not_finite_is_pointed_at(value: float, word: str) -> None:
    array = np.zeros((3, 4))
    array[1, 2] = array[2, 3] = value
    with pytest.raises(InvalidArgument, match=rf"is {word} at \[1, 2\]; every value must be finite") as caught:
        decode(encode(array), "a.b")
    assert caught.value.field == "a.b.data"


def test_shape_without_data_allocates_nothing() -> None:
    with pytest.raises(InvalidArgument, match="has 0 bytes"):
        decode(Tensor(datatype="FP32", shape=[2**62, 2**62]), "a")
