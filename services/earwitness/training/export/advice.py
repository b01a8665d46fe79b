"""What is at the bottom of a failed trace, in the words of whoever wrote the network, and what to do about it."""

import traceback
from dataclasses import dataclass
from pathlib import Path

import torch

import earwitness

OURS = Path(earwitness.__file__).parent
TORCHS = Path(torch.__file__).parent

WITHOUT_GRADIENT = "or serve it as it is and explain it without gradient (README, Without a gradient)"


@dataclass(frozen=True)
class Advice:
    """Why an operator cannot be served, and the way out."""

    why: str
    way_out: str


COMPLEX = Advice(
    "it makes complex numbers, which the served graph has not",
    "A classifier here is given spectrograms: leave the Fourier transform inside it out, or compute its real and its "
    f"imaginary part as two convolutions with cosines and sines; {WITHOUT_GRADIENT}",
)
RANDOM = Advice(
    "it draws random numbers in eval mode too, and a latent has no activation of its own then",
    "Functional dropout takes training=self.training; noise is for training alone, or fixed: drawn once and kept by "
    "register_buffer",
)
RECURRENT = Advice(
    "it is a recurrent layer in one piece, whose gradient has no form in a served graph",
    f"Take a convolution over time, or attention, in its place; {WITHOUT_GRADIENT}",
)
OF_VALUES = Advice(
    "what happens next depends on values of the spectrogram, such as a branch, a loop or a number read from a tensor",
    "A graph is the same for every sound: write the branch as torch.where, and keep numbers in tensors (no .item(), "
    ".tolist(), .numpy(), float() or bool() of one)",
)
OF_NUMBER = Advice(
    "how large its result is depends on values of the spectrogram",
    "Select by multiplication with a mask or by torch.where, which keep the size",
)
OF_BATCH = Advice(
    "it makes a plain number of the batch's size, as a loop over the rows or int(x.shape[0]) does, and works for that "
    "size alone",
    "Compute all rows at once, and hand the size on as x.shape[0] or -1",
)

BY_OPERATOR: tuple[tuple[tuple[str, ...], Advice], ...] = (
    (("fft", "stft", "view_as_complex", "view_as_real", "complex", "polar"), COMPLEX),
    (("bernoulli", "rand", "normal", "dropout", "multinomial", "exponential_"), RANDOM),
    (("lstm", "gru", "rnn"), RECURRENT),
    (("_local_scalar_dense", "is_nonzero"), OF_VALUES),
    (("nonzero", "masked_select", "unique"), OF_NUMBER),
)
BY_ERROR: tuple[tuple[tuple[str, ...], Advice], ...] = (
    (("data-dependent", "DataDependent", "item()", "Dynamo failed to run FX node with fake tensors"), OF_VALUES),
    (("unbacked", "DynamicOutputShape"), OF_NUMBER),
)


def advice_on(operator: str, failure: BaseException | None = None) -> Advice | None:
    """What is known of an operator by its name, or of a failure by what it says."""
    said = f"{type(failure).__name__} {failure}" if failure is not None else ""
    for parts, advice in BY_ERROR if failure is not None else ():
        if any(part in said for part in parts):
            return advice
    name = operator.removeprefix("aten.").split(".")[0]
    for parts, advice in BY_OPERATOR:
        if any(part in name for part in parts):
            return advice
    return None


def line_of(failure: BaseException) -> str:
    """Where in the network's own code it happened, `birds.py:12`; "" where that is not known."""
    return _own(traceback.extract_tb(failure.__traceback__))


def current_line() -> str:
    """Where in the network's own code the caller is called from; "" where that is not known."""
    return _own(traceback.extract_stack())


def _own(frames: traceback.StackSummary) -> str:
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_absolute() and not path.is_relative_to(OURS) and not path.is_relative_to(TORCHS):
            source = f" ({frame.line})" if frame.line else ""
            return f"{path.name}:{frame.lineno}{source}"
    return ""
