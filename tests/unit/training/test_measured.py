"""What is measured of many excerpts a few at a time is what all of them at once would show."""

from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness.features import get_profile
from earwitness.training import measured
from earwitness.training.corpus import open_corpus
from earwitness.training.evaluate_gan import _halves_distance
from earwitness.training.measured import Measured, band_noise, drawn, generated, measure, unit_count
from earwitness.training.networks import Critic, Generator, SVDNet
from earwitness.training.networks.detector import rows_at_once
from earwitness.training.networks.replay import ReplayNetwork
from earwitness.training.replay.excerpts import UtteranceExcerpts
from earwitness.training.replay.spectrograms import UtteranceSpectrograms
from earwitness.training.replay.utterances import Utterance
from tests.unit.training.conftest import easy_split


@pytest.fixture
def network() -> SVDNet:
    torch.manual_seed(0)
    return SVDNet().eval()


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earwitness.training.networks.detector.VALUES_AT_ONCE", 3 * 80 * 115)


@pytest.mark.usefixtures("few_at_once")
def test_batches_add_up_to_all_at_once(network: SVDNet) -> None:
    batches = list(drawn(easy_split(4, 0), 7, seed=1))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    found, together = measure(network, batches), np.concatenate(batches)
    with torch.inference_mode():
        embedding = network.embed(torch.from_numpy(together)[:, None]).numpy()
    np.testing.assert_allclose(found.embedding, embedding, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.band_mean, together.mean((0, 2), dtype=np.float64))
    np.testing.assert_allclose(found.band_std, together.std((0, 2), dtype=np.float64))
    assert unit_count(network, (80, 115)) == 64


@pytest.mark.usefixtures("few_at_once")
def test_no_more_excerpts_go_through_a_critics_detector_than_fit(network: SVDNet) -> None:
    critic = Critic(4, network)
    assert critic.layers is not None
    x, seen = torch.randn(7, 1, 80, 115), list[int]()
    outputs = dict(zip(network.judged_layers, network.judged(x), strict=True))
    network.standardise.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    critic.layers.set_statistics(x)
    assert seen == [3, 3, 1]
    for name, values in outputs.items():
        axes = [0, *range(2, values.ndim)]
        torch.testing.assert_close(getattr(critic.layers, f"{name}_mean"), values.mean(axes), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(getattr(critic.layers, f"{name}_std"), values.std(axes) + 1e-3, rtol=1e-4, atol=1e-5)


def test_the_largest_front_end_goes_through_one_at_a_time() -> None:
    assert rows_at_once(get_profile("log-power-2048@1").excerpt_shape) == 1
    assert rows_at_once((10_000, 10_000)) == 1
    assert rows_at_once((80, 115)) == 56
    assert unit_count(ReplayNetwork("sparrow", 129, 100).eval(), (129, 100)) == 16


@pytest.mark.usefixtures("few_at_once")
def test_noise_and_samples_come_in_batches_too(network: SVDNet) -> None:
    like = Measured(np.zeros((5, 64), np.float32), np.linspace(-4, 4, 80), np.linspace(0.5, 2, 80))
    batches = list(band_noise(like, 115, floor=-5.0, seed=0))
    assert [(len(batch), batch.dtype) for batch in batches] == [(3, np.float32), (2, np.float32)]
    noise = np.concatenate(batches)
    assert noise.min() == -5.0
    assert noise[:, -1].std() == pytest.approx(2.0, rel=0.1)
    generator = Generator(latent_size=4, channels=16).eval()
    parts = list(generated(generator, 4, seed=0))
    assert [len(part) for part in parts] == [3, 1]
    with torch.inference_mode():
        latents = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
        np.testing.assert_allclose(np.concatenate(parts), generator(latents)[:, 0].numpy(), rtol=1e-3, atol=1e-4)


def test_excerpts_of_some_recordings_alone(easy_corpus: Path) -> None:
    data = open_corpus(easy_corpus).open("train")
    clip = data.spectrogram(5).T
    known = {clip[:, start : start + 115].tobytes() for start in range(300 - 115 + 1)}
    some, _ = data.random_excerpts(np.random.default_rng(0), 20, [5], dither=False)
    assert {each.tobytes() for each in some} <= known
    profile = get_profile("log-power-256@1")
    counts = [130, 40, 150]
    frames = np.repeat(np.arange(3), counts)[:, None].repeat(129, axis=1).astype(np.float16)
    utterances = [Utterance(str(number), Path("x"), number == 1, "M0001") for number in range(3)]
    spoken = UtteranceExcerpts(UtteranceSpectrograms(utterances, frames, counts), profile)
    windows, labels = spoken.random_excerpts(np.random.default_rng(0), 200, [1, 2])
    assert set(windows[:, 0, 0]) == {1.0, 2.0}
    np.testing.assert_array_equal(labels, windows[:, 0, 0] == 1)


def test_halves_are_as_many_rows_of_each_half_and_undefined_for_one_recording(
    network: SVDNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[tuple[int, list[int]]]()

    def spy(data: object, count: int, seed: int, recordings: list[int]) -> object:
        asked.append((count, recordings))
        return measured.drawn(data, count, seed, recordings)  # type: ignore[arg-type]

    monkeypatch.setattr("earwitness.training.evaluate_gan.drawn", spy)
    distance = _halves_distance(network, easy_split(5, 0), 30, seed=0)
    assert distance is not None
    assert distance > 0
    assert asked == [(30, [0, 2, 4]), (30, [1, 3])]
    assert _halves_distance(network, easy_split(1, 0), 30, seed=0) is None
