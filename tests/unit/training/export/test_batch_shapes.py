"""Networks that make tensors of the batch's size, and forms that training has and a graph has not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tests.unit.training.export.exactness import BANDS, FRAMES, LATENT, dense, require_exact


class Beside(nn.Module):
    """Two more values beside the spectrogram's, `[B, 2]`."""

    def __init__(self, more: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.more = nn.Linear(BANDS * FRAMES + 2, 2), more

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.cat([x.flatten(1).tanh(), self.more(x)], 1))


FACTORIES: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: torch.zeros(x.shape[0], 2),
    "ones on a device": lambda x: torch.ones(x.size(0), 2, device=x.device, dtype=x.dtype),
    "full": lambda x: torch.full((x.shape[0], 2), 0.5),
    "empty, filled": lambda x: torch.empty(x.shape[0], 2).fill_(0.25),
    "arange and its rows": lambda x: torch.arange(x.shape[0] * 2).reshape(-1, 2) * 0.0 + 1,
    "like": lambda x: torch.zeros_like(x[:, 0, 0, :2]),
    "of the tensor": lambda x: x.new_ones((x.shape[0], 2)),
    "written into": lambda x: torch.zeros(x.shape[0], 2).index_fill_(1, torch.tensor([1]), 2.0),
    "len": lambda x: torch.ones(1, 2).expand(len(x), -1),
    "repeat": lambda x: torch.ones(1, 2).repeat(len(x), 1),
    "size, unpacked": lambda x: (lambda batch, *rest: torch.zeros(batch, 2))(*x.size()),
    "one hot": lambda x: functional.one_hot(torch.zeros(x.shape[0], dtype=torch.long), 2).float(),
    "of values that are read": lambda x: torch.full((x.shape[0], 2), float(torch.tensor(3.0).sqrt().item())),
}


@pytest.mark.parametrize("more", FACTORIES.values(), ids=FACTORIES)
def test_tensors_of_the_size_of_the_batch(more: Callable[[Tensor], Tensor]) -> None:
    require_exact(dense(), Beside(more))


def test_a_pass_leaves_len_as_it_was() -> None:
    require_exact(dense(), Beside(FACTORIES["len"]))
    assert type(len(torch.zeros(3))) is int


class Convolving(nn.Module):
    """A convolution, something, and the mean of its channels."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.LayerNorm(4), nn.Linear(4, 2)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.between(self, x))


def last(network: nn.Module, x: Tensor) -> Tensor:
    return network.norm(network.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def under_autocast(network: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return network.conv(x).tanh().mean((2, 3)).to(network.fc.weight.dtype)


FORMS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "pooled with channels last": lambda net, x: functional.adaptive_avg_pool2d(last(net, x), 1).flatten(1),
    "pooled to several": lambda net, x: functional.adaptive_avg_pool2d(last(net, x), (2, 5)).flatten(2).sum(2),
    "channels last in memory": lambda net, x: nn.AdaptiveAvgPool2d(1)(
        net.conv(x.to(memory_format=torch.channels_last)).tanh()
    ).flatten(1),
    "pooled over time": lambda net, x: nn.AdaptiveAvgPool1d(1)(net.conv(x).mean(2).transpose(1, 2).transpose(1, 2))[
        ..., 0
    ].tanh(),
    "checkpointed": lambda net, x: checkpoint(net.conv, x, use_reentrant=False).tanh().mean((2, 3)),
    "checkpointed, reentrant": lambda net, x: checkpoint(net.conv, x, use_reentrant=True).tanh().mean((2, 3)),
    "autocast": under_autocast,
}


@pytest.mark.parametrize("between", FORMS.values(), ids=FORMS)
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_forms_of_training(between: Callable[[nn.Module, Tensor], Tensor]) -> None:
    require_exact(dense(), Convolving(between))


class Modulated(nn.Module):
    """A convolution with kernels that the latent scales, each row's in a group of its own, as of StyleGAN2."""

    nz = LATENT

    def __init__(self, kernel: tuple[int, int], way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.style, self.bias = nn.Linear(LATENT, 4), nn.Linear(LATENT, 2)
        self.weight = nn.Parameter(torch.randn(*((4, 2) if way == "up" else (2, 4)), *kernel))
        self.constant = nn.Parameter(torch.randn(1, 4, *((4, 6) if way == "up" else (8, 12))))
        self.way = way

    def forward(self, z: Tensor) -> Tensor:
        batch = z.shape[0]
        style = 1 + self.style(z)
        x = (self.constant.expand(batch, -1, -1, -1) + z[:, :1, None, None]).reshape(1, -1, *self.constant.shape[2:])
        if self.way == "up":
            weight = (self.weight[None] * style[:, :, None, None, None]).flatten(0, 1)
            x = functional.conv_transpose2d(x, weight, stride=2, padding=1, output_padding=self.weight.shape[2] % 2,
                                            groups=batch)  # fmt: skip
        elif self.way == "down":
            weight = (self.weight[None] * style[:, None, :, None, None]).flatten(0, 1)
            x = functional.conv2d(x, weight, self.bias(z).flatten(), (2, 1), (2, 2), 2, batch)
            x = functional.interpolate(x.reshape(batch, 2, 4, 12), scale_factor=(2.0, 1.0))
        else:
            weight = self.weight[None] * style[:, None, :, None, None]
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
            x = functional.conv2d(x, weight.flatten(0, 1), padding=1, groups=batch)
        return x.reshape(batch, 2, BANDS, FRAMES).mean(1, keepdim=True).tanh()


@pytest.mark.parametrize(
    ("kernel", "way"), [((3, 3), "same"), ((4, 4), "up"), ((3, 3), "up"), ((3, 3), "down")], ids=str
)
def test_modulated_convolutions(kernel: tuple[int, int], way: str) -> None:
    torch.manual_seed(1)
    require_exact(Modulated(kernel, way), nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(240, 2)))
