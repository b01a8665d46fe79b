"""A pair of networks that are not ours, found by their import path."""

from torch import Tensor, nn

from earwitness.features import get_profile

BANDS, FRAMES = get_profile("log-mel-80@1").excerpt_shape


class Painter(nn.Module):
    """z `[B, 3]` → `[B, 1, bands, frames]`."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, BANDS * FRAMES)

    def forward(self, z: Tensor) -> Tensor:
        return self.dense(z).reshape(-1, 1, BANDS, FRAMES).tanh()


class Sorter(nn.Module):
    """`[B, 1, bands, frames]` → logits `[B, 2]`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, stride=5)
        self.dense = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.conv(x).relu().mean((2, 3)))


class Unservable(Sorter):
    """Holds an operator without a rule."""

    def forward(self, x: Tensor) -> Tensor:
        return self.dense(self.conv(x).cumprod(3).mean((2, 3)))
