"""Pictures: where the frequency ticks are, and that every profile can be drawn."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from earwitness.features import PROFILES, get_profile, render_picture
from earwitness.features.picture import _ticks_hz


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_has_a_picture(name):
    profile = PROFILES[name]
    png = render_picture(profile, np.full(profile.excerpt_shape, profile.floor_value, np.float32), name)
    assert png.startswith(b"\x89PNG")
    assert profile.value_label.startswith(("log power", "log magnitude", "amplitude"))


def test_a_picture_is_the_same_whatever_was_drawn_before_it():
    """Each beside others of its kind and of another, in one thread; and as the first of a thread of its own."""
    generator = np.random.default_rng(0)
    mel, power = get_profile("log-mel-80@1"), get_profile("log-power-512@1")
    wanted = [
        (profile, (generator.normal(-3 * k, 10.0**k, profile.excerpt_shape)).astype(np.float32), f"$ {k}")
        for profile in (mel, power)
        for k in range(3)
    ]
    in_turns = [render_picture(*each) for each in (*wanted, *reversed(wanted))]
    for each, turn, again in zip(wanted, in_turns, reversed(in_turns), strict=False):
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(render_picture, *each).result() == turn == again
    assert len(set(in_turns)) == len(wanted)


def test_the_spectrogram_lies_within_its_frame_and_the_scale_has_its_ends():
    profile = get_profile("log-mel-80@1")
    spectrogram = np.zeros(profile.excerpt_shape, np.float32)
    spectrogram[:, : profile.excerpt_frames // 2] = 1
    pixels = np.asarray(Image.open(io.BytesIO(render_picture(profile, spectrogram, ""))))
    assert pixels.shape == (360, 640, 3)
    row = pixels[180, 80:530]  # within the axes
    yellow, purple = (253, 231, 36), (68, 1, 84)  # viridis' ends
    assert {tuple(each) for each in row[:210]} == {yellow}
    assert {tuple(each) for each in row[230:]} == {purple}
    assert (pixels[20:30, 80:530] == 255).all()  # no title


def test_a_linear_axis_has_equal_steps_and_a_logarithmic_one_doublings():
    assert _ticks_hz(get_profile("log-power-512@1").band_frequencies_hz()) == [1_000.0 * step for step in range(9)]
    assert _ticks_hz(get_profile("log-cqt-84@1").band_frequencies_hz()) == [50, 100, 200, 500, 1000, 2000]
    assert _ticks_hz(get_profile("log-mel-80@1").band_frequencies_hz()) == [100, 200, 500, 1000, 2000, 4000]
