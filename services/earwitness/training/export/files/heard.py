"""Networks of files as the two that a bundle is made of: a classifier of spectrograms, a generator of them."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
from torch import Tensor

from earwitness.registration.axes import FORMS, Intake, sizes_of
from earwitness.training.export.errors import ShapeError
from earwitness.training.export.files.learned import tells_two_apart
from earwitness.training.export.files.network import OnnxNetwork, needed
from earwitness.training.export.files.reading import OnnxFile
from earwitness.training.export.files.values import Operation, text


class FileClassifier(OnnxNetwork):
    """`[B, bands, frames]` → logits `[B, outputs]`: the spectrogram as the file takes it, and its answer without the
    softmax or sigmoid at its end.

    Raises: NoGradient.
    """

    def __init__(self, file: OnnxFile, intake: Intake, answer: str) -> None:
        super().__init__(file.model, intake.port.name, answer, file.batch)
        self._intake = intake
        operations, self._output, self.softened = logits_of(self._operations, answer)
        self._operations = needed(operations, [self._output])

    def forward(self, x: Tensor) -> Tensor:
        """Raises: NoGradient; ValueError for another shape."""
        if x.ndim != 3:
            raise ValueError(f"takes [B, bands, frames], got {list(x.shape)}")
        if self._intake.offset:
            x = x - self._intake.offset
        if self._intake.scale != 1:
            x = x / self._intake.scale
        x = x.transpose(1, 2) if self._intake.frames_first else x
        return super().forward(x.reshape(x.shape[0], *self._intake.row_shape))


class FileGenerator(OnnxNetwork):
    """z `[B, Z]` → `[B, bands, frames]`.

    Raises: NoGradient; ShapeError when the file is none.
    """

    def __init__(self, file: OnnxFile, spectrogram_shape: tuple[int, int]) -> None:
        if len(file.outputs) != 1 or any(size < 1 for size in file.given.shape):
            raise ShapeError(
                f"generator: {file.source} takes {file.given} and gives {'; '.join(map(str, file.outputs))}; one that "
                "can be used takes latents of a fixed size and gives one spectrogram"
            )
        (output,) = file.outputs
        super().__init__(file.model, file.given.name, output.name, file.batch)
        self.latent_size = prod(file.given.shape)
        self._row_shape = file.given.shape
        z = np.random.default_rng(0).standard_normal((2, *file.given.shape))
        made = file.run(z, [output.name])[output.name].shape[1:]
        forms = [form for form in FORMS if sizes_of(form, spectrogram_shape) == made]
        if not forms:
            raise ShapeError(
                f"generator: {file.source} gives {list(made)} for a latent, the features have excerpts of "
                f"{list(spectrogram_shape)} bands × frames; give the features that it was trained on"
            )
        self._frames_first = forms[0].startswith("frames") or ",frames,bands" in forms[0]
        self._sizes = spectrogram_shape[::-1] if self._frames_first else spectrogram_shape

    def forward(self, z: Tensor) -> Tensor:
        """Raises: NoGradient."""
        x = super().forward(z.reshape(z.shape[0], *self._row_shape))
        x = x.reshape(x.shape[0], *self._sizes)
        return x.transpose(1, 2) if self._frames_first else x


def logits_of(operations: Sequence[Operation], answer: str) -> tuple[list[Operation], str, str]:
    """The operations without the softmax at the end of `answer`, or the sigmoid of a single output; the tensor that is
    the answer then; and what was left out, "" where nothing was.

    A sigmoid over several outputs, of which several may be true, stays.
    """
    kept = list(operations)
    makers = {name: index for index, operation in enumerate(kept) for name in operation.outputs}
    name = answer
    while (index := makers.get(name)) is not None:
        operation = kept[index]
        if operation.operator in ("Identity", "Normalizer") and (
            operation.operator == "Identity" or text(operation.attributes.get("norm")) == "L1"
        ):
            name = operation.inputs[0]
        elif operation.operator == "Softmax" and operation.attributes.get("axis", -1) in (1, -1):
            return kept, operation.inputs[0], "softmax"
        elif operation.operator == "LinearClassifier" and name == operation.outputs[-1]:
            post = text(operation.attributes.get("post_transform", "NONE"))
            if post == "SOFTMAX" or (post == "LOGISTIC" and tells_two_apart(operation)):
                attributes = {**operation.attributes, "post_transform": f"LOGITS OF {post}"}
                kept[index] = replace(operation, attributes=attributes)
                return kept, name, "softmax"
            break
        else:
            break
    return kept, answer, ""
