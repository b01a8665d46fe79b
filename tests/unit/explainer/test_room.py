"""What fits into the answers of callers who take so much."""

import pytest

from earwitness.errors import InvalidArgument
from earwitness.explainer.plan import Artefact, RowBytes
from earwitness.explainer.room import STOCK_BYTES, SUMMARY_BYTES, Filling, Room, response_bytes

AUDIO, PICTURE, TRAJECTORY = Artefact.AUDIO, Artefact.PICTURE, Artefact.TRAJECTORY
ROWS = [RowBytes(1000, {AUDIO: 500, PICTURE: 2000})] * 4
MOST = 2**26


def test_what_callers_take() -> None:
    assert response_bytes(0, MOST) == STOCK_BYTES == 4 * 2**20
    assert response_bytes(0, 2**20) == 2**20
    assert response_bytes(100, MOST) == 100
    assert response_bytes(2 * MOST, MOST) == MOST
    with pytest.raises(InvalidArgument, match="max_response_bytes: is -1"):
        response_bytes(-1, MOST)


def test_a_search_is_refused_with_the_number_of_rows_that_fit() -> None:
    total = SUMMARY_BYTES + 4 * 3500
    Room.of(total, MOST, whole=True).require(ROWS, {AUDIO, PICTURE})
    with pytest.raises(
        InvalidArgument, match=rf"4 explanations with audio, picture .* {total} bytes.* 3 rows fit"
    ) as err:
        Room.of(total - 1, MOST, whole=True).require(ROWS, {AUDIO, PICTURE})
    assert err.value.field == "search.rows"
    for way_out in ("StreamExplain", "fewer rows or artefacts", "max_response_bytes"):
        assert way_out in err.value.description
    Room.of(total - 1, MOST, whole=True).require(ROWS[:3], {AUDIO, PICTURE})
    with pytest.raises(InvalidArgument, match=r"4 explanations with no artefacts.* 0 rows fit"):
        Room.of(SUMMARY_BYTES + 999, MOST, whole=True).require(ROWS, {AUDIO, PICTURE})


def test_who_states_nothing_is_refused_only_what_no_leaving_out_helps() -> None:
    many = [RowBytes(1000, {PICTURE: 40_000})] * 1000
    Room.of(0, MOST, whole=True).require(many, {PICTURE})
    with pytest.raises(InvalidArgument, match=r"no artefacts.* 4193 rows fit"):
        Room.of(0, MOST, whole=True).require(many * 5, {PICTURE})
    with pytest.raises(InvalidArgument, match=r"with picture .* 1636 rows fit"):
        Room.of(0, MOST, whole=True).require(many * 2, {PICTURE})


def test_a_stream_is_refused_by_its_largest_message() -> None:
    Room.of(3500, MOST, whole=False).require(ROWS * 1000, {AUDIO, PICTURE})
    larger = [*ROWS, RowBytes(1001, {AUDIO: 500, PICTURE: 2000})]
    with pytest.raises(
        InvalidArgument, match=r"one explanation with audio, picture takes up to 3501 .* 3500; ask for fewer"
    ):
        Room.of(3500, MOST, whole=False).require(larger, {AUDIO, PICTURE})


def test_rows_are_filled_in_their_order() -> None:
    filling = Filling(Room.of(SUMMARY_BYTES + 4000 + 4999, MOST, whole=True), ROWS)
    taken = []
    for index in range(4):
        filling.begin(index)
        taken.append((filling.take(AUDIO, 500), filling.take(PICTURE, 1700)))
    assert taken == [(True, True), (True, True), (True, False), (False, False)]
    assert filling.closed == {AUDIO, PICTURE}
    assert filling.rendered_bytes == 3 * 500 + 2 * 1700

    apart = Filling(Room.of(2000, MOST, whole=False), ROWS)
    for index in range(2):
        apart.begin(index)
        assert (apart.take(TRAJECTORY, 600), apart.take(PICTURE, 401), apart.take(AUDIO, 400)) == (True, False, True)
    assert not apart.closed
