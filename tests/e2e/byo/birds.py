"""A user's own file, as tutorials write them: a DCGAN generator and a small CNN over 64 bands × 96 frames."""

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

LATENT = 100


def weights_init(module: nn.Module) -> None:
    name = type(module).__name__
    if name.startswith("Conv"):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif name.startswith("BatchNorm"):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def up(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.ConvTranspose2d(channels_in, channels_out, 4, 2, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(True),
    ]


class CallGenerator(nn.Module):
    """z `[B, 100, 1, 1]` → `[B, 1, 64, 96]` in [-1, 1]."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(LATENT, width * 8, (4, 6), 1, 0, bias=False),
            nn.BatchNorm2d(width * 8),
            nn.ReLU(True),
            *up(width * 8, width * 4),
            *up(width * 4, width * 2),
            *up(width * 2, width),
            nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False),
            nn.Tanh(),
        )
        self.apply(weights_init)

    def forward(self, z: Tensor) -> Tensor:
        return self.main(z)


class CallDetector(nn.Module):
    """`[B, 1, 64, 96]` → logits `[B, 2]`: no call, call."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1),
            nn.BatchNorm2d(12),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.AdaptiveAvgPool2d((4, 4)),
        )
        self.fc1 = nn.Linear(32 * 4 * 4, 40)
        self.dropout = nn.Dropout(0.3)
        self.fc2 = nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x).flatten(1)
        x = F.relu(self.fc1(x))
        return self.fc2(self.dropout(x))
