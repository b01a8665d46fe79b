"""Small pairs with recurrent layers, each built around one way to use them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.unit.training.export.networks import LATENT, Apply, Case, plain_generator

BANDS, FRAMES = 12, 16


def frames_of(x: Tensor) -> Tensor:
    """`[B, 1, bands, frames]` → `[B, frames, bands]`."""
    return x.squeeze(1).transpose(1, 2)


def last_output() -> Case:
    judge = Apply(lambda x, gru, dense: dense(gru(frames_of(x))[0][:, -1]), nn.GRU(BANDS, 5, batch_first=True),
                  nn.Linear(5, 2))  # fmt: skip
    return Case(plain_generator(), judge, {"gru": "parts.0"})


def both_directions() -> Case:
    gru = nn.GRU(BANDS, 4, num_layers=2, bidirectional=True, batch_first=True, dropout=0.3)
    judge = Apply(lambda x, gru, dense: dense(gru(frames_of(x))[0].mean(1)), gru, nn.Linear(8, 3))
    return Case(plain_generator(), judge, {"gru": "parts.0"})


def time_first() -> Case:
    """The batch second, zeros given, and the last states of both directions in place of the output."""

    def judge(x: Tensor, gru: Any, dense: Any) -> Any:
        gru.flatten_parameters()  # as many do, for CUDA
        zeros = torch.zeros(2, x.shape[0], 4)
        _, states = gru(frames_of(x).transpose(0, 1), zeros.to(x.dtype))
        return dense(states.transpose(0, 1).flatten(1))

    return Case(plain_generator(), Apply(judge, nn.GRU(BANDS, 4, bidirectional=True), nn.Linear(8, 2)), {})


def attention_over_time() -> Case:
    def judge(x: Tensor, lstm: Any, score: Any, dense: Any) -> Any:
        steps = lstm(frames_of(x))[0]
        return dense((torch.softmax(score(torch.tanh(steps)), dim=1) * steps).sum(1))

    lstm = nn.LSTM(BANDS, 4, num_layers=2, bidirectional=True, batch_first=True)
    return Case(plain_generator(), Apply(judge, lstm, nn.Linear(8, 1), nn.Linear(8, 2)), {"lstm": "parts.0"})


def last_cell() -> Case:
    """The last cell alone, so that nothing comes to the hidden states from outside."""
    judge = Apply(lambda x, lstm, dense: dense(lstm(frames_of(x))[1][1].squeeze(0)),
                  nn.LSTM(BANDS, 5, batch_first=True, bias=False), nn.Linear(5, 2))  # fmt: skip
    return Case(plain_generator(), judge, {})


def initial_states_from_the_input() -> Case:
    def judge(x: Tensor, lstm: Any, start: Any, dense: Any) -> Any:
        hidden, cell = start(x.flatten(1)).tanh().reshape(-1, 2, 2, 4).permute(1, 2, 0, 3)
        steps, (hidden, cell) = lstm(frames_of(x), (hidden.contiguous(), cell.contiguous()))
        return dense(torch.cat([steps[:, 0], steps[:, -1], cell[0], hidden[1]], 1))

    lstm = nn.LSTM(BANDS, 4, bidirectional=True, batch_first=True)
    return Case(plain_generator(), Apply(judge, lstm, nn.Linear(BANDS * FRAMES, 16), nn.Linear(24, 2)), {})


def plain_recurrence() -> Case:
    def judge(x: Tensor, first: Any, second: Any, dense: Any) -> Any:
        return dense(second(first(frames_of(x))[0])[0].mean(1))

    first = nn.RNN(BANDS, 4, bidirectional=True, batch_first=True, bias=False)
    second = nn.RNN(8, 5, nonlinearity="relu", batch_first=True)
    return Case(plain_generator(), Apply(judge, first, second, nn.Linear(5, 2)), {"tanh": "parts.0", "relu": "parts.1"})


def behind_convolutions() -> Case:
    """As in a CRNN."""

    def block(x: Tensor, conv: Any) -> Any:
        return functional.relu(conv(x)) + 0.5 * x

    judge = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d((4, 1)),
        Apply(block, nn.Conv2d(6, 6, 3, padding=1)),
        nn.Flatten(1, 2),
        Apply(lambda x, gru: gru(x.transpose(1, 2))[0], nn.GRU(18, 4, bidirectional=True, batch_first=True)),
        Apply(lambda x: torch.tanh(x[:, :, 4:]) * x[:, :, :4]),
        Apply(lambda x, dense: dense(x).mean(1), nn.Linear(4, 2)),
    )  # fmt: skip
    return Case(plain_generator(), judge, {"conv": "2", "gru": "6.parts.0"})


def normalised_weights() -> Case:
    judge = Apply(lambda x, gru, dense: dense(gru(frames_of(x))[0].amax(1)),
                  parametrizations.weight_norm(nn.GRU(BANDS, 5, batch_first=True), "weight_hh_l0"),
                  nn.Linear(5, 2))  # fmt: skip
    return Case(plain_generator(), judge, {})


def in_the_generator() -> Case:
    def generate(z: Tensor, start: Any, gru: Any, dense: Any) -> Any:
        steps = start(z).unsqueeze(1).expand(-1, FRAMES, -1)
        return dense(gru(steps)[0]).transpose(1, 2).unsqueeze(1).tanh()

    source = Apply(generate, nn.Linear(LATENT, 7), nn.GRU(7, 5, batch_first=True), nn.Linear(5, BANDS))
    judge = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ELU(), nn.Flatten(), nn.LazyLinear(2))
    return Case(source, judge, {"conv": "1"})


def loop_over_a_cell() -> Case:
    def judge(x: Tensor, gru: Any, lstm: Any, dense: Any) -> Any:
        hidden = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        state: Any = None
        for frame in frames_of(x)[:, ::3].unbind(1):
            hidden = gru(frame, hidden)
            state = lstm(hidden, state)
        return dense(state[0])

    return Case(plain_generator(), Apply(judge, nn.GRUCell(BANDS, 4), nn.LSTMCell(4, 3), nn.Linear(3, 2)), {})


def projected() -> Case:
    judge = Apply(lambda x, lstm, dense: dense(lstm(frames_of(x))[0].mean(1)),
                  nn.LSTM(BANDS, 5, proj_size=3, batch_first=True), nn.Linear(3, 2))  # fmt: skip
    return Case(plain_generator(), judge, {})


CASES: dict[str, Callable[[], Case]] = {
    build.__name__: build
    for build in (
        last_output,
        both_directions,
        time_first,
        attention_over_time,
        last_cell,
        initial_states_from_the_input,
        plain_recurrence,
        behind_convolutions,
        normalised_weights,
        in_the_generator,
        loop_over_a_cell,
        projected,
    )
}


def build(name: str) -> Case:
    """The case with seeded weights, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sum(map(ord, name)))
        case = CASES[name]()
        case.generator.eval()
        case.classifier.eval()
        with torch.no_grad():
            case.classifier(case.generator(torch.randn(2, LATENT)))
    return case
