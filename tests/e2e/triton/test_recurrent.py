"""A classifier with a recurrent layer, exported and served by the real server."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from earwitness.features import MelProfile
from earwitness.inference.factory import open_backend
from earwitness.inference.local import LocalBackend
from earwitness.inference.triton_install import TritonInstall
from earwitness.inference.tritonserver import TritonServer
from earwitness.training.export import export_bundle

LATENT, BANDS, FRAMES = 5, 8, 40


class Judge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(BANDS, 6, bidirectional=True, batch_first=True)
        self.output = nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.output(self.gru(x.transpose(1, 2))[0][:, -1])
        return logits


async def test_a_step_for_every_frame_runs_in_triton(triton_install: TritonInstall, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(LATENT, BANDS * FRAMES), nn.Tanh(), nn.Unflatten(1, (BANDS, FRAMES))).eval()
    judge = Judge().eval()
    profile = MelProfile("own@1", sample_rate_hz=8_000, frame_length=128, hop_length=64, band_count=BANDS,
                         excerpt_frames=FRAMES)  # fmt: skip
    export_bundle(generator, judge, name="recurrent", features=profile, repository=tmp_path / "models")
    z = np.random.default_rng(0).standard_normal((20, LATENT)).astype(np.float32)
    weights = np.zeros((20, 14), np.float32)  # 12 units of the recurrent layer, 2 outputs
    weights[:, 13] = 1
    inputs = {"z": z, "unit_weights": weights, "prior_weight": np.zeros((20, 1), np.float32)}
    async with TritonServer(triton_install, tmp_path / "models", log_file=tmp_path / "triton.log") as server:
        served, local = open_backend("triton", triton_url=server.grpc_url), LocalBackend(tmp_path / "models", threads=1)
        answers = [await each.infer("recurrent_search", inputs, ["activation", "gradient"]) for each in (served, local)]
        await served.close()
        await local.close()
    latent = torch.from_numpy(z).double().requires_grad_()
    activation = judge.double()(generator.double()(latent))[:, 1]
    (gradient,) = torch.autograd.grad(activation.sum(), latent)
    slack = 1e-5 * float(gradient.abs().max())
    for answer in answers:
        np.testing.assert_allclose(answer["activation"][:, 0], activation.detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(answer["gradient"], gradient.numpy(), rtol=1e-5, atol=slack)
    np.testing.assert_array_equal(answers[0]["gradient"], answers[1]["gradient"])
