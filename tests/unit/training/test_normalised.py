"""Batch normalisation that is folded away: training sees it, the shipped network does not."""

import pytest
import torch

from earwitness.training.networks import NormalisedSVDNet, SVDNet


@pytest.fixture(scope="module")
def learner() -> NormalisedSVDNet:
    """A learner whose running statistics and biases have moved away from their start."""
    network = SVDNet(output_count=2, band_count=40, frame_count=52)
    network.initialise(torch.Generator().manual_seed(0))
    network.standardise.set_statistics(torch.linspace(-3, 1, 40), torch.linspace(0.5, 2, 40))
    learner = NormalisedSVDNet(network)
    optimiser = torch.optim.SGD([each for each in learner.parameters() if each.requires_grad], 0.05)
    torch.manual_seed(0)
    for _ in range(20):
        optimiser.zero_grad()
        learner.segment_logits(torch.randn(8, 1, 40, 52 + 9 * 2)).square().mean().backward()
        optimiser.step()
    return learner


def test_folded_network_equals_the_learner_in_eval_mode(learner: NormalisedSVDNet) -> None:
    segments = torch.randn(5, 1, 40, 52 + 9 * 3, generator=torch.Generator().manual_seed(1))
    learner.eval()
    with torch.no_grad():
        expected = learner.segment_logits(segments)
        plain = learner.folded()
        assert isinstance(plain, SVDNet)
        torch.testing.assert_close(plain.segment_logits(segments), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(plain(segments[..., :52]), expected[:, 0], rtol=1e-4, atol=1e-5)


def test_folding_leaves_the_learner_alone(learner: NormalisedSVDNet) -> None:
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.folded()
    for name, value in learner.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_folding_is_not_trivial(learner: NormalisedSVDNet) -> None:
    plain = learner.folded()
    for name in NormalisedSVDNet.layers:
        assert not torch.allclose(getattr(plain, name)[0].weight, getattr(learner.network, name)[0].weight), name
