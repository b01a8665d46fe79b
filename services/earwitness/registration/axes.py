"""How a model that is not ours takes a spectrogram: the order of its axes, a channel, flattened, rescaled.

Pure: `axes_of` finds the one way that fits the sizes, or says which of several to choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from earwitness.errors import InvalidArgument

FORMS = (
    "bands,frames",
    "frames,bands",
    "1,bands,frames",
    "1,frames,bands",
    "bands,frames,1",
    "frames,bands,1",
    "bands*frames",
    "frames*bands",
)
"""What a row of an input can be; `bands*frames` is flattened, all frames of the first band first."""
FLOATS = ("FP32", "FP16", "FP64")
"""Data types that a spectrogram or an activation can have."""


@dataclass(frozen=True)
class Port:
    """An input or output: its name, its KServe data type, and the shape of one row, -1 where any size is taken."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        sizes = ", ".join("any" if size < 0 else str(size) for size in self.shape)
        return f"{self.name} {self.datatype} [{sizes}]"


@dataclass(frozen=True)
class Intake:
    """What becomes of a spectrogram `[B, bands, frames]` before a model takes it: `(x − offset) / scale`, then `axes`
    (one of FORMS), then the data type of `port`."""

    port: Port
    axes: str
    spectrogram_shape: tuple[int, int]
    offset: float = 0.0
    scale: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether nothing has to become of it."""
        as_it_is = self.axes == "bands,frames" and self.port.datatype == "FP32"
        return as_it_is and (self.offset, self.scale) == (0.0, 1.0)

    @property
    def frames_first(self) -> bool:
        """Whether the frames come before the bands."""
        return self.axes.find("frames") < self.axes.find("bands")

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The sizes of a row as the model takes it."""
        return sizes_of(self.axes, self.spectrogram_shape)


def sizes_of(axes: str, spectrogram_shape: tuple[int, int]) -> tuple[int, ...]:
    """The sizes that one of FORMS has for so many bands and frames."""
    sizes = {"1": 1, "bands": spectrogram_shape[0], "frames": spectrogram_shape[1]}
    return tuple(prod(sizes[part] for part in axis.split("*")) for axis in axes.split(","))


def axes_of(port: Port, spectrogram_shape: tuple[int, int], given: str | None = None) -> str:
    """The one of FORMS in which `port` takes spectrograms of (bands, frames); `given` where sizes leave a choice.

    Raises: InvalidArgument.
    """
    bands, frames = spectrogram_shape
    ours = f"spectrograms of {bands} bands × {frames} frames"
    if port.datatype not in FLOATS:
        raise InvalidArgument(
            "classifier",
            f"its input {port} takes no {ours}, which are floating-point; put a model before it that makes its input "
            "of them, and name that one (a Triton ensemble of both)",
        )
    if given is not None and given not in FORMS:
        raise InvalidArgument("input_axes", f"got {given!r}; give one of {', '.join(FORMS)}")
    fitting = [form for form in FORMS if _fits(port.shape, sizes_of(form, spectrogram_shape))]
    if given is not None:
        if given not in fitting:
            wanted = list(sizes_of(given, spectrogram_shape))
            raise InvalidArgument(
                "input_axes", f"{given} of {ours} is {wanted} a row, the classifier's input is {port}{_else(fitting)}"
            )
        return given
    if not fitting:
        forms = "; ".join(f"{list(sizes_of(form, spectrogram_shape))} ({form})" for form in FORMS)
        raise InvalidArgument(
            "features",
            f"make {ours}, and the classifier's input {port} takes none of {forms}: give the features that it was "
            "trained on and a generator of them, or put a model before it that makes its input of these (a Triton "
            "ensemble of both)",
        )
    if len(fitting) > 1:
        raise InvalidArgument(
            "input_axes",
            f"the classifier's input {port} may take {ours} as {' or as '.join(fitting)}, and a wrong choice would be "
            "explained without a word: say which",
        )
    return fitting[0]


def _fits(declared: Sequence[int], sizes: Sequence[int]) -> bool:
    return len(declared) == len(sizes) and all(want in (-1, size) for want, size in zip(declared, sizes, strict=True))


def _else(fitting: Sequence[str]) -> str:
    return f"; it takes {' or '.join(fitting)}" if fitting else "; give the features that it was trained on"
