"""Statistics as users compute them are those that the scorer would have kept of the same rows."""

import numpy as np
import pytest

from earwitness.client.partials import Moments, Partial
from earwitness.client.values import Selection
from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import collector
from earwitness.scorer.outgoing import Outgoing

UNITS = 6


def rows_of(count: int) -> np.ndarray:
    """Rounded, so that there are ties."""
    return np.round(np.random.default_rng(0).standard_normal((count, UNITS)) * 3, 1).astype(np.float32)


def kept(rows: np.ndarray, selection: Selection) -> bytes:
    """What the scorer gives out when it was given these rows."""
    of_scorer = collector(selection, rows.shape[1])
    of_scorer.add_rows(rows, "s", 0)
    body = of_scorer.body()
    outgoing = Outgoing.of(len(body), lambda start, count: body[start : start + count])
    return b"".join(body[start : start + count] for start, count in outgoing.chunks())


@pytest.mark.parametrize("selection", [Selection("top", 2, 10), Selection("bottom", 5, 10), Selection()], ids=str)
@pytest.mark.parametrize("count", [1, 7])
def test_rows_are_those_that_the_scorer_keeps(count: int, selection: Selection) -> None:
    partial = Partial.of(rows_of(count), selection)
    assert partial.row_count == count
    assert partial.to_bytes() == kept(rows_of(count), selection)


@pytest.mark.parametrize("selection", [Selection("top", 2, 10), Selection("bottom", 5, 10)], ids=str)
def test_the_most_extreme_rows_come_first_and_ties_as_they_came(selection: Selection) -> None:
    rows = rows_of(500)
    partial = Partial.of(rows.astype(np.float64), selection)
    assert partial.rows is not None
    assert (partial.row_count, partial.rows.shape, partial.rows.dtype) == (500, (10, UNITS), np.float32)
    assert partial.to_bytes() == kept(rows, selection)
    again = Partial.of_row_bytes(partial.to_bytes(), 500, UNITS)
    np.testing.assert_array_equal(again.rows, partial.rows)


@pytest.mark.parametrize("offset", [0, 1e6])
def test_moments(offset: float) -> None:
    rows = rows_of(500) + np.float32(offset)
    partial = Partial.of(rows, Selection())
    data = np.frombuffer(partial.to_bytes())
    np.testing.assert_allclose(data, np.frombuffer(kept(rows, Selection())), rtol=1e-12, atol=1e-9)
    assert partial.moments is not None
    np.testing.assert_allclose(partial.moments.scatter / 499, np.cov(rows.T.astype(np.float64)), rtol=1e-9, atol=1e-9)
    again = Partial.of_moment_bytes(partial.to_bytes(), 500, UNITS)
    assert again.moments is not None
    np.testing.assert_array_equal(again.moments.scatter, again.moments.scatter.T)
    assert again.to_bytes() == partial.to_bytes()


def test_hand_computed() -> None:
    rows = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0], [3.0, 20.0]], np.float32)
    partial = Partial.of(rows, Selection())
    assert np.frombuffer(partial.to_bytes()).tolist() == [3, 20, 1, 10, 5, 40, 8, 60, 600]


@pytest.mark.parametrize(
    ("rows", "selection", "said"),
    [
        (np.zeros(3), Selection(), r"have shape \(3,\)"),
        (np.zeros((0, 3)), Selection(), "at least one row"),
        (np.zeros((2, 3)), Selection("top", 3, 5), "by unit 3; there are 3 units"),
    ],
)
def test_what_has_no_statistics_is_refused(rows: np.ndarray, selection: Selection, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Partial.of(rows, selection)


def test_exactly_one_of_moments_and_rows() -> None:
    ones = np.ones(2)
    with pytest.raises(InvalidArgument, match="exactly one"):
        Partial(3)
    with pytest.raises(InvalidArgument, match="exactly one"):
        Partial(3, Moments(ones, np.eye(2), ones, ones), np.ones((3, 2), np.float32))


def test_bytes_of_another_length() -> None:
    with pytest.raises(ValueError, match="reshape"):
        Partial.of_row_bytes(bytes(4 * 11), 3, 5)
    for count in (11, 29, 31):
        with pytest.raises(ValueError, match="shape mismatch"):
            Partial.of_moment_bytes(bytes(8 * count), 3, 5)
