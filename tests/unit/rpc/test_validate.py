"""Checks of request fields."""

import math
from base64 import urlsafe_b64decode

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from earwitness.errors import InvalidArgument
from earwitness.rpc import validate


def test_resource_names() -> None:
    assert validate.resource_id("models/svd-r1", "models", "name") == "svd-r1"
    assert validate.resource_id("models/" + "a" * 63, "models", "name") == "a" * 63
    assert validate.new_resource_id("vocal-2", "reference_id") == "vocal-2"
    assert validate.versioned_id("references/r", "references", "name") == ("r", None)
    assert validate.versioned_id("references/r/versions/12", "references", "name") == ("r", 12)


@pytest.mark.parametrize(
    "name",
    ["", "models", "models/", "svd-r1", "sweeps/x", "models/x/y", "models/X", "models/1x", "models/-x", "models/x_y",
     "models/x ", "models/x\n", "/models/x", "models/" + "a" * 64, "models/é", "models/" + "z" * 10_000],
)  # fmt: skip
def test_bad_resource_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="must be 'models/'") as caught:
        validate.resource_id(name, "models", "search.model")
    assert caught.value.field == "search.model"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    "tail", ["/versions/", "/versions/0", "/versions/-1", "/versions/x", "/versions/1/2", "/versions/٣"]
)
def test_bad_versions(tail: str) -> None:
    with pytest.raises(InvalidArgument, match="number from 1"):
        validate.versioned_id("references/r" + tail, "references", "name")


def test_ranges() -> None:
    assert validate.require_range(3, "f", at_least=3, at_most=3) == 3
    assert validate.require_range(0.5, "f", at_least=0, at_most=1) == 0.5
    assert validate.require_range(-1e30, "f") == -1e30


@pytest.mark.parametrize(
    ("value", "bounds", "words"),
    [
        (0, {"at_least": 1, "at_most": 256}, "is 0; must be at least 1 and at most 256"),
        (257, {"at_least": 1, "at_most": 256}, "is 257"),
        (1_000_001, {"at_most": 1_000_000}, "is 1000001; must be at most 1000000"),
        (1.5, {"at_least": 0, "at_most": 1}, "is 1.5; must be at least 0 and at most 1"),
        (math.nan, {"at_least": 0}, "is nan"),
        (math.inf, {}, "is inf; must be finite"),
    ],
)
def test_out_of_range(value: float, bounds: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        validate.require_range(value, "f", **bounds)


def test_durations() -> None:
    assert validate.duration_s(Duration(), "timeout") == 0
    assert validate.duration_s(Duration(seconds=2, nanos=500_000_000), "timeout") == 2.5
    # Each of the first four raises OverflowError or ValueError in protobuf's own conversion, or gives nonsense.
    for seconds, nanos in ((-(2**63), 0), (2**63 - 1, 0), (315_576_000_001, 0), (1, 10**9), (0, -1), (-1, 0)):
        with pytest.raises(InvalidArgument, match=f"timeout: is {seconds} s and {nanos} ns; must be 0 to"):
            validate.duration_s(Duration(seconds=seconds, nanos=nanos), "timeout")


def test_text() -> None:
    assert validate.require_text("naïve ♪\n", "f", max_chars=8) == "naïve ♪\n"
    bad = {"": "has 0 characters; must have 1 to 8", "x" * 9: "has 9", "a\x00": "printable", "a\x1b[": "printable"}
    for text, words in bad.items():
        with pytest.raises(InvalidArgument, match=words):
            validate.require_text(text, "f", min_chars=1, max_chars=8)


def test_uuid4() -> None:
    good = "6f4c1f0e-8c43-4b5e-9d5a-0c9f2e7d1a34"
    assert validate.uuid4(good.upper(), "request_id") == good
    for bad in ("", "x", good[:-1], good.replace("-", ""), "{" + good + "}", "6f4c1f0e-8c43-1b5e-9d5a-0c9f2e7d1a34"):
        with pytest.raises(InvalidArgument, match="UUID of version 4"):
            validate.uuid4(bad, "request_id")


def test_sha256() -> None:
    assert validate.sha256_hex("0a" * 32, "sha256") == "0a" * 32
    for bad in ("", "0A" * 32, "0a" * 31, "0g" * 32, "0a" * 32 + "\n"):
        with pytest.raises(InvalidArgument, match="64 of 0-9 and a-f"):
            validate.sha256_hex(bad, "sha256")


@given(st.lists(st.text(max_size=5), unique=True).map(sorted), st.integers(1, 7))
def test_pages_give_every_item_once_and_in_order(items: list[str], size: int) -> None:
    items = [item for item in items if item]
    got: list[str] = []
    token = ""
    while True:
        chosen, token = validate.page(items, str, size, token)
        got += chosen
        if not token:
            break
        assert len(chosen) == size
    assert got == items


def test_pages_survive_items_that_come_and_go() -> None:
    chosen, token = validate.page(["b", "d", "f"], str, 1, "")
    assert chosen == ["b"]
    assert validate.page(["a", "c", "f"], str, 1, token)[0] == ["c"]


def test_page_sizes() -> None:
    assert validate.page_request(0, "").size == 50
    assert validate.page_request(10**6, "").size == 1000
    with pytest.raises(InvalidArgument, match="is -1"):
        validate.page_request(-1, "")


def test_tokens_of_elsewhere_are_refused() -> None:
    token = validate.page_request(1, "", filters="model=x").next_token("item")
    assert validate.page_request(1, token, filters="model=x").after == "item"
    assert b"item" in urlsafe_b64decode(token)
    for bad, filters in (
        (token, ""),
        (token, "model=y"),
        (token[:-4], "model=x"),
        ("garbage", ""),
        ("ä", ""),
        ("/" * 8, ""),
    ):
        with pytest.raises(InvalidArgument) as caught:
            validate.page_request(1, bad, filters=filters)
        assert caught.value.field == "page_token"
