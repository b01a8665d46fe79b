"""Shapes, sizes and names of the networks, and the shortcuts against the plain way."""

import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from earwitness.errors import InvalidArgument
from earwitness.training.networks import (
    Arch,
    BandStandardise,
    Critic,
    Generator,
    RefinedGenerator,
    SVDNet,
    make_generator,
)
from earwitness.training.train_gan import GanTrainingConfig, _Gan, _Start


def seeded(network: SVDNet | Generator | Critic) -> None:
    network.initialise(torch.Generator().manual_seed(0))
    network.eval()


@pytest.mark.parametrize("outputs", [1, 2])
def test_svdnet_has_the_published_layers_and_size(outputs: int) -> None:
    network = SVDNet(outputs)
    seeded(network)
    assert network(torch.zeros(3, 1, 80, 115)).shape == (3, outputs)
    assert network.embed(torch.zeros(3, 1, 80, 115)).shape == (3, 64)
    assert all(hasattr(network, name) for name in network.layer_names)
    convolutions = 64 * 10 + 32 * (64 * 9 + 1) + 128 * (32 * 9 + 1) + 64 * (128 * 9 + 1)
    dense = 256 * (64 * 7 * 11 + 1) + 64 * 257 + outputs * 65
    assert sum(parameter.numel() for parameter in network.parameters()) == convolutions + dense
    total = network.probability(torch.zeros(1, 1, 80, 115)).sum().item()
    assert total == pytest.approx(1.0) if outputs == 2 else 0.0 < total < 1.0


def test_frames_and_segments_equal_separate_excerpts() -> None:
    network = SVDNet()
    seeded(network)
    x = torch.randn(80, 133, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        one_by_one = network(torch.stack([x[None, :, start : start + 115] for start in range(19)]))
        torch.testing.assert_close(network.frame_logits(x), one_by_one, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(network.segment_logits(x[None, None])[0], one_by_one[::9], rtol=1e-4, atol=1e-6)


def test_short_recordings_and_wrong_sizes_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="114 frames, expected at least 115"):
        SVDNet().frame_logits(torch.zeros(80, 114))
    with pytest.raises(InvalidArgument, match="output_count: got 3"):
        SVDNet(3)
    with pytest.raises(InvalidArgument, match="channels: got 24"):
        Generator(channels=24)
    with pytest.raises(InvalidArgument, match="above 0"):
        BandStandardise(2).set_statistics(torch.zeros(2), torch.tensor([1.0, 0.0]))


def test_generator_stays_above_the_floor_in_the_data_units() -> None:
    generator = Generator()
    generator.standardise.set_statistics(torch.full((80,), -8.0), torch.full((80,), 10.0))
    seeded(generator)
    with torch.no_grad():
        x = generator(torch.randn(4, 128, generator=torch.Generator().manual_seed(2)))
    assert x.shape == (4, 1, 80, 115)
    assert x.min() == pytest.approx(math.log(1e-7))
    assert abs(float(x.mean()) + 8.0) < 4.0


def test_refined_generator_begins_as_the_published_one_and_then_adds_fixed_noise() -> None:
    published, refined = Generator(channels=32), RefinedGenerator(channels=32)
    seeded(published)
    seeded(refined)
    refined.load_state_dict({**refined.state_dict(), **published.state_dict()})
    z = torch.randn(2, 128, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert torch.equal(refined(z), published(z))
        torch.nn.init.ones_(refined.finish.weight)
        again = refined(z)
        assert torch.equal(refined(z), again)
        assert not torch.equal(again, published(z))
        refined.train()
        assert not torch.equal(refined(z), refined(z))


def test_refined_generator_adds_at_most_half_to_a_row_step() -> None:
    classifier = SVDNet()

    def operations(arch: Literal["paper", "refined"]) -> int:
        with FlopCounterMode(display=False) as counter:
            z = torch.zeros(1, 128, requires_grad=True)
            classifier(make_generator(arch)(z)).sum().backward()
        return int(counter.get_total_flops())

    assert 1.05 < operations("refined") / operations("paper") < 1.5


def test_layouts_have_names() -> None:
    assert type(make_generator()) is type(make_generator("paper")) is Generator
    assert type(make_generator("refined")) is RefinedGenerator
    with pytest.raises(InvalidArgument, match="arch: got 'big', expected one of paper, refined"):
        make_generator("big")  # type: ignore[arg-type]


@pytest.mark.parametrize("arch", ["paper", "refined"])
@pytest.mark.parametrize("size", [(257, 100), (129, 100), (84, 100), (16, 17), (1, 1)])
def test_a_generator_has_any_size_cropped_about_its_middle(arch: Arch, size: tuple[int, int]) -> None:
    bands, frames = size
    generator = make_generator(arch, latent_size=3, channels=16, band_count=bands, frame_count=frames)
    seeded(generator)
    with torch.no_grad():
        z = torch.randn(2, 3, generator=torch.Generator().manual_seed(6))
        x, whole = generator(z), generator.drawn(generator.features(z))
    assert x.shape == (2, 1, bands, frames)
    rows, columns = whole.shape[2:]
    assert (rows % 16, columns % 16) == (0, 0)
    assert 0 <= rows - bands < 16
    assert 0 <= columns - frames < 16
    top, left = (rows - bands) // 2, (columns - frames) // 2
    torch.testing.assert_close(x, whole[:, :, top : top + bands, left : left + frames].clamp(min=math.log(1e-7)))


def test_the_singing_sizes_are_those_of_older_checkpoints() -> None:
    """Their arguments name neither bands nor frames."""
    generator = Generator(latent_size=128, channels=128)
    assert generator.dense.weight.shape == (128 * 5 * 8, 128)
    assert generator.standardise.mean.shape == (1, 1, 80, 1)
    assert (generator.size, generator.crop) == ((80, 115), (0, 6))
    assert Critic(16).pixels.read.in_features == 128 * 5 * 7
    assert Critic(4, size=(257, 100)).pixels(torch.zeros(2, 1, 257, 100)).shape == (2, 2)
    with pytest.raises(InvalidArgument, match="size: got 80 × 15, expected at least 16 × 16"):
        Critic(4, size=(80, 15))
    with pytest.raises(InvalidArgument, match="band_count: got 0"):
        Generator(band_count=0)


@pytest.mark.parametrize("with_detector", [False, True])
def test_critic_judges_each_example_alone_and_by_its_label(with_detector: bool) -> None:
    detector = SVDNet() if with_detector else None
    if detector is not None:
        seeded(detector)
    critic = Critic(4, detector)
    seeded(critic)
    x = torch.randn(3, 1, 80, 115, generator=torch.Generator().manual_seed(3))
    labels = torch.tensor([1.0, -1.0, 1.0])
    if critic.layers is not None:
        critic.layers.set_statistics(x)
    with torch.no_grad():
        together = critic(x, labels)
        torch.testing.assert_close(together[1:2], critic(x[1:2], labels[1:2]), rtol=1e-4, atol=1e-5)
        other = critic(x, -labels)
    assert (together != other).all()
    assert critic.squared_slopes(x, labels).shape == (3,)
    assert (critic.squared_slopes(x, labels) > 0).all()


def test_latents_ask_for_as_many_labels_as_the_data_have(tmp_path: Path) -> None:
    config = GanTrainingConfig(tmp_path, tmp_path, generator_channels=16, critic_channels=4)
    start = _Start.load(config, {})
    gan = _Gan(config, start, torch.zeros(80), torch.ones(80), (80, 115), -16.0, label_share=0.3)
    labels = gan.labels_of(torch.randn(20_000, 128, generator=torch.Generator().manual_seed(4)))
    assert set(labels.tolist()) == {-1.0, 1.0}
    assert float((labels > 0).float().mean()) == pytest.approx(0.3, abs=0.01)
