"""The five networks of the paper's table, by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from earwitness.errors import InvalidArgument
from earwitness.training.networks.replay.stack import Activation, Stack

OUTPUTS = 2


@dataclass(frozen=True)
class NetworkSpec:
    """One network: its layers, the profile it was made for, and the nonlinearity that the paper's row names.

    Source: Chettri et al. 2018 (arXiv:1805.09164), the table of architectures.
    """

    name: str
    profile_name: str
    activation: Activation
    add_layers: Callable[[Stack], None]


def _stc_lcnn(stack: Stack) -> None:
    # Padded throughout, as in the published table of the network that it reimplements (Lavrentyeva et al. 2017), whose
    # sizes halve exactly with each pooling.
    stack.conv(16, (5, 5), (2, 2))
    stack.pool((2, 2))
    for nin, width in ((16, 24), (24, 32), (32, 16), (16, 16)):
        stack.nin(nin)
        stack.conv(width, (3, 3), (1, 1))
        stack.pool((2, 2))
    stack.dense(32)
    stack.logits(OUTPUTS)


def _pindrop(stack: Stack) -> None:
    bands = stack.shape[1]
    stack.conv(64, (bands, 3))
    for _ in range(2):
        stack.conv(64, (1, 3), (0, 1))
    stack.pool_all()
    for _ in range(3):
        stack.dense(128)
    stack.logits(OUTPUTS)


def _bulbul(stack: Stack) -> None:
    # Time is padded: without, a second ends before the last convolution. Frequency is not.
    for kernel, window in (((3, 3), (3, 3)), ((3, 3), (3, 3)), ((1, 3), (1, 3)), ((1, 3), (1, 3))):
        stack.conv(16, kernel, (0, 1))
        stack.pool(window)
    stack.dense(256)
    stack.dense(32)
    stack.logits(OUTPUTS)


def _sparrow(stack: Stack) -> None:
    # Time is padded up to the second pooling: without, the nine-frame convolution would get eight frames.
    for _ in range(2):
        stack.conv(32, (3, 3), (0, 1))
    stack.pool((3, 3))
    for _ in range(2):
        stack.conv(32, (3, 3), (0, 1))
    stack.conv(64, (20, 3), (0, 1))
    stack.pool((3, 3))
    stack.conv(256, (1, 9), dropout=True)
    stack.conv(64, (1, 1), dropout=True)
    stack.conv(16, (1, 1), dropout=True)
    stack.mean_logits(OUTPUTS)


def _compact(stack: Stack) -> None:
    for _ in range(3):
        stack.conv(8, (10, 3))
        stack.pool((2, 2))
    stack.dense(128)
    stack.logits(OUTPUTS)


NETWORKS: Mapping[str, NetworkSpec] = {
    spec.name: spec
    for spec in (
        NetworkSpec("stc_lcnn", "log-power-2048@1", "mfm", _stc_lcnn),
        NetworkSpec("pindrop", "log-power-512@1", "mfm", _pindrop),
        NetworkSpec("bulbul", "log-power-256@1", "elu", _bulbul),
        NetworkSpec("sparrow", "log-power-256@1", "elu", _sparrow),
        NetworkSpec("compact", "log-power-512@1", "mfm", _compact),
    )
}


def network_spec(name: str) -> NetworkSpec:
    """The network of that name.

    Raises: InvalidArgument naming those there are.
    """
    if name not in NETWORKS:
        raise InvalidArgument("network", f"got {name!r}, expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name]
