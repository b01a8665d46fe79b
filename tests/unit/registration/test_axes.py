"""How a foreign input takes a spectrogram: found by sizes, asked for where they leave a choice, never guessed."""

import pytest

from earwitness.errors import InvalidArgument
from earwitness.registration.axes import FORMS, Intake, Port, axes_of, sizes_of

SHAPE = (80, 115)


@pytest.mark.parametrize("form", [form for form in FORMS if "*" not in form])
def test_sizes_that_fit_one_form_are_taken_for_it(form: str) -> None:
    assert axes_of(Port("x", "FP32", sizes_of(form, SHAPE)), SHAPE) == form


@pytest.mark.parametrize(
    ("row", "choices"),
    [
        ((9200,), "bands*frames or as frames*bands"),
        ((-1, -1), "bands,frames or as frames,bands"),
        ((-1, -1, 1), "bands,frames,1 or as frames,bands,1"),
        ((1, -1, -1), "1,bands,frames or as 1,frames,bands"),
    ],
)
def test_sizes_that_fit_several_are_asked_about(row: tuple[int, ...], choices: str) -> None:
    port = Port("x", "FP32", row)
    with pytest.raises(InvalidArgument) as caught:
        axes_of(port, SHAPE)
    assert caught.value.field == "input_axes"
    assert choices in caught.value.description
    chosen = choices.rpartition(" ")[2]
    assert axes_of(port, SHAPE, chosen) == chosen


def test_as_many_bands_as_frames_are_asked_about() -> None:
    with pytest.raises(InvalidArgument, match="bands,frames or as frames,bands"):
        axes_of(Port("x", "FP32", (64, 64)), (64, 64))


def test_an_axis_of_any_size_fits_by_the_others() -> None:
    assert axes_of(Port("x", "FP32", (-1, 80)), SHAPE) == "frames,bands"


@pytest.mark.parametrize("given", ["frames,bands", "1,bands,frames", "bands*frames"])
def test_a_choice_that_does_not_fit_is_refused_with_what_does(given: str) -> None:
    with pytest.raises(InvalidArgument, match=r"it takes bands,frames$"):
        axes_of(Port("x", "FP32", SHAPE), SHAPE, given)


def test_nothing_that_fits_names_every_form() -> None:
    with pytest.raises(InvalidArgument) as caught:
        axes_of(Port("wave", "FP32", (16000,)), SHAPE)
    assert caught.value.field == "features"
    assert "wave FP32 [16000] takes none of [80, 115] (bands,frames); [115, 80]" in caught.value.description


def test_whole_numbers_are_no_spectrogram() -> None:
    with pytest.raises(InvalidArgument, match="floating-point"):
        axes_of(Port("x", "INT16", SHAPE), SHAPE)


def test_only_what_is_given_as_it_is_needs_no_adapter() -> None:
    port = Port("x", "FP32", SHAPE)
    assert Intake(port, "bands,frames", SHAPE).is_plain
    assert not Intake(port, "bands,frames", SHAPE, scale=2).is_plain
    assert not Intake(Port("x", "FP16", SHAPE), "bands,frames", SHAPE).is_plain
