"""A partial is taken for what it stands for, refused where no rows can have it, and given out as it is."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from earwitness.errors import InvalidArgument
from earwitness.scorer.collect import Collector, collector, statistics_body
from earwitness.scorer.layers import Layout
from earwitness.scorer.outgoing import Outgoing
from earwitness.scorer.partials import Form, content_of, require_possible
from earwitness.scorer.references import MAX_PARTIAL_BYTES, MAX_UNITS, NewReference, Shard, Source
from earwitness.scorer.selection import MAX_SELECTED
from earwitness.scorer.statistics import Statistics, from_rows
from earwitness.vocabulary.reference import ALL, Selection

UNITS = 5
LAYOUT = Layout.of("l", UNITS)
TOP, BOTTOM = Selection("top", 1, 8), Selection("bottom", 1, 8)


def rows_of(count: int, units: int = UNITS, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((count, units)) * 3 + 5).astype(np.float32)


def collected(rows: np.ndarray, selection: Selection) -> Collector:
    made = collector(selection, rows.shape[1])
    made.add_rows(rows, "s", 0)
    return made


@dataclass(frozen=True)
class Given:
    """A partial as it leaves."""

    form: Form
    data: bytes
    sha256: str


def given_out(body: bytes) -> Given:
    """All chunks of what the store keeps."""
    outgoing = Outgoing.of(len(body), lambda start, count: body[start : start + count])
    data = b"".join(body[start : start + count] for start, count in outgoing.chunks())
    return Given(outgoing.form, data, outgoing.sha256)


def body_of(form: Form, data: bytes, row_count: int, selection: Selection = ALL, units: int = UNITS) -> bytes:
    """What the store keeps of a partial."""
    of = NewReference("r", Source("m", "0" * 64, "l", units), "p", selection, "")
    content = content_of(form, Shard("s", row_count, hashlib.sha256(data).hexdigest()), of)
    assert content.byte_count == len(data), str(content)
    middle = len(data) // 2 // content.item_bytes * content.item_bytes
    for block in (data[:middle], data[middle:]):
        content.add(block)
    return content.body()


@pytest.mark.parametrize("selection", [ALL, TOP, BOTTOM])
@pytest.mark.parametrize("count", [1, UNITS + 1, UNITS + 2, 300])
def test_what_is_given_out_is_taken_in_bit_for_bit(selection: Selection, count: int) -> None:
    body = collected(rows_of(count), selection).body()
    partial = given_out(body)
    assert partial.form == ("moments" if selection == ALL and count > UNITS + 1 else "rows")
    assert partial.sha256 == hashlib.sha256(partial.data).hexdigest()
    again = body_of(partial.form, partial.data, count, selection)
    assert given_out(again) == partial
    if count > 1:
        before, after = collector(selection, UNITS), collector(selection, UNITS)
        before.add_body(body)
        after.add_body(again)
        assert before.frozen().to_body() == after.frozen().to_body()


def test_the_layout_of_moments() -> None:
    statistics = from_rows(np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]]))
    partial = given_out(statistics_body(statistics))
    assert np.frombuffer(partial.data, "<f8").tolist() == [3, 20, 1, 10, 5, 40, 8, 60, 600]
    assert len(partial.data) == 4 * 2 * (2 + 7)


@pytest.mark.parametrize("selection", [TOP, BOTTOM])
def test_ties_keep_the_order_in_which_they_came(selection: Selection) -> None:
    rows = np.round(rows_of(100))
    partial = given_out(collected(rows, selection).body())
    assert given_out(body_of("rows", partial.data, 100, selection)) == partial


def test_a_partial_over_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidArgument, match=f"{MAX_PARTIAL_BYTES}: send moments") as caught:
        body_of("rows", b"", 20_000, units=4096)
    assert caught.value.field == "header.row_count"
    largest = NewReference("r", Source("m", "", "l", MAX_UNITS), "p", Selection("top", 0, MAX_SELECTED), "")
    assert content_of("rows", Shard("s", 10**12, ""), largest).byte_count < MAX_PARTIAL_BYTES


def test_selected_rows_have_no_moments() -> None:
    with pytest.raises(InvalidArgument, match="is moments; a reference of top rows is made of rows") as caught:
        body_of("moments", b"", 10, TOP)
    assert caught.value.field == "header.form"


@pytest.mark.parametrize("selection", [TOP, BOTTOM])
def test_rows_out_of_order_are_named(selection: Selection) -> None:
    rows = np.frombuffer(given_out(collected(rows_of(40), selection).body()).data, "<f4").reshape(-1, UNITS)
    swapped = rows[[0, 1, 2, 3, 5, 4, 6, 7]]
    with pytest.raises(InvalidArgument, match="row 5 is more extreme in unit 1 than the one before") as caught:
        body_of("rows", swapped.tobytes(), 40, selection)
    assert caught.value.field == "chunk"
    with pytest.raises(InvalidArgument, match="row 4 is more extreme"):  # between the blocks
        body_of("rows", rows[[1, 2, 3, 4, 0, 5, 6, 7]].tobytes(), 40, selection)


def test_rows_that_are_not_finite_are_named() -> None:
    rows = rows_of(3)
    rows[2, 4] = np.inf
    for selection in (ALL, TOP):
        with pytest.raises(InvalidArgument, match="row 2, unit 4 is inf"):
            body_of("rows", rows.tobytes(), 3, selection)


GOOD = from_rows(rows_of(50))


def changed(name: str, index: Any, value: float) -> Statistics:
    values = getattr(GOOD, name).copy()
    values[index] = value
    return replace(GOOD, **{name: values})


def correlated(strength: float) -> Statistics:
    """All units move together, `strength` times as much as they can."""
    spread = np.sqrt(GOOD.scatter.diagonal())
    scatter = strength * np.outer(spread, spread)
    np.fill_diagonal(scatter, spread**2)
    return replace(GOOD, scatter=scatter)


@pytest.mark.parametrize(
    ("statistics", "said"),
    [
        (changed("mean", 3, np.nan), "mean of unit 3 is nan; must be finite"),
        (changed("minimum", 0, -np.inf), "minimum of unit 0 is -inf; must be finite"),
        (changed("maximum", 4, 1e39), r"maximum of unit 4 is 1e\+39; must be finite, at most 3.40282e\+38"),
        (changed("scatter", (2, 3), np.nan), "M2 of unit 2 and unit 3 is nan; must be finite"),
        (changed("minimum", 1, 1e3), r"minimum of unit 1 is 1000; must not be above the maximum"),
        (changed("mean", 1, GOOD.maximum[1] + 0.01), "mean of unit 1 is .*; must be between minimum and maximum"),
        (changed("mean", 1, GOOD.minimum[1] - 0.01), "mean of unit 1 is .*; must be between minimum and maximum"),
        (changed("scatter", (2, 2), -1.0), "M2 of unit 2 is -1; is not that of 50 rows with this mean"),
        (changed("scatter", (2, 2), 0.0), "M2 of unit 2 is 0; is not that of 50 rows with this mean"),
        (changed("scatter", (2, 2), 1e4), "M2 of unit 2 is 10000; is not that of 50 rows with this mean"),
        (replace(GOOD, count=1), "is not that of 1 rows"),
        (replace(GOOD, count=3), "is not that of 3 rows"),
        (correlated(1.001), "M2 is not positive semidefinite"),
        (correlated(-0.5), "M2 is not positive semidefinite"),
    ],
)
def test_what_no_rows_have_is_refused(statistics: Statistics, said: str) -> None:
    with pytest.raises(InvalidArgument, match=said) as caught:
        require_possible(statistics, LAYOUT)
    assert caught.value.field == "chunk"


SHAPES = pytest.mark.parametrize("shape", [(1, 3), (2, 3), (9, 40), (200, 7), (50, 1)])


def drawn(shape: tuple[int, int], offset: float, scale: float) -> np.ndarray:
    values = offset + scale * np.random.default_rng(0).standard_normal(shape)
    return values.clip(-3.4e38, 3.4e38).astype(np.float32)


@SHAPES
@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1e8, 1), (0, 1e-20), (-1e30, 1e30), (0, 1e38), (1e3, 0), (0, 0), (0, 1e-45)]
)
def test_what_rows_have_is_taken(shape: tuple[int, int], offset: float, scale: float) -> None:
    """Constant units, fewer rows than units, values at the ends of FP32."""
    require_possible(from_rows(drawn(shape, offset, scale)), LAYOUT)


@SHAPES
@pytest.mark.parametrize(("offset", "scale"), [(0, 1), (1e4, 1), (1e3, 0), (0, 0)])
def test_statistics_made_in_single_precision_are_taken(shape: tuple[int, int], offset: float, scale: float) -> None:
    rows = drawn(shape, offset, scale)
    mean = rows.mean(axis=0)
    centred = rows - mean
    parts = (mean, centred.T @ centred, rows.min(axis=0), rows.max(axis=0))
    require_possible(Statistics(len(rows), *(part.astype(np.float64) for part in parts)), LAYOUT)


def test_correlated_units_are_taken() -> None:
    require_possible(correlated(1), LAYOUT)
