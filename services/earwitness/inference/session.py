"""One model.onnx in ONNX Runtime, run alike in process (`LocalBackend`) and behind Triton's python-based backend.

A batch can be run in two ways. ONNX Runtime's own threads share every operator of one run over the whole batch; or,
with `micro_batch`, the rows are dealt out in small runs of one thread each. A conv net on a CPU is faster the second
way (no synchronisation between operators, tensors stay in the core's cache), and with runs of one row a row's result
cannot depend on the rows beside it, not even in its last bit.
"""

import itertools
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime import OrtValue as OrtValue  # for the backend, which must not import it before earwitness

from earwitness.inference.backend import FloatArray

logger = logging.getLogger(__name__)

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
# The first three are the native ONNX Runtime backend's own names; it passes over the others.
INTRA_OP_THREADS = "intra_op_thread_count"
INTER_OP_THREADS = "inter_op_thread_count"
EXECUTION_MODE = "execution_mode"
MICRO_BATCH = "micro_batch"
ORT_ENTRY_PREFIX = "session."
Shapes = Mapping[str, tuple[int, ...]]
ONLY_FATAL = 4
"""Log level of ONNX Runtime: an error is raised here, a second time on stderr would be one too many."""


@dataclass(frozen=True)
class SessionSettings:
    """How a session spends threads."""

    threads: int = 0
    """Threads of a run; 0 means one for each core this process may use."""
    inter_op_threads: int = 0
    parallel_operators: bool = False
    """Whether independent operators run side by side, on `inter_op_threads`."""
    micro_batch: int = 0
    """Most rows of one run on a CPU; 0 gives ONNX Runtime the whole batch."""
    ort_entries: Mapping[str, str] = field(default_factory=dict)
    """ONNX Runtime's own session configuration entries, e.g. `session.intra_op.allow_spinning`."""

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "SessionSettings":
        """The settings in a model's config.pbtxt parameters.

        Threads do not spin unless the parameters say so: servers and clients of one machine share its cores.

        Raises: ValueError naming the parameter that is not a whole number from 0 up.
        """

        def count(name: str) -> int:
            text = parameters.get(name, "0")
            if not text.isdecimal():
                raise ValueError(f"parameter {name!r} is {text!r}; give a whole number, 0 for the default")
            return int(text)

        entries = {key: value for key, value in parameters.items() if key.startswith(ORT_ENTRY_PREFIX)}
        spinning = {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}
        return cls(
            threads=count(INTRA_OP_THREADS),
            inter_op_threads=count(INTER_OP_THREADS),
            parallel_operators=count(EXECUTION_MODE) == 1,
            micro_batch=count(MICRO_BATCH),
            ort_entries=spinning | entries,
        )


class OnnxSession:
    """A loaded model; `run` may be called from several threads."""

    def __init__(
        self,
        model_file: Path,
        settings: SessionSettings,
        *,
        device_id: int | None = None,
        content: bytes | None = None,
    ) -> None:
        """Load `model_file` for CUDA device `device_id`, or for the CPU where that is None or CUDA cannot be had.

        `content` is what was read of the file, where it was.
        """
        threads = settings.threads or len(os.sched_getaffinity(0))
        options = ort.SessionOptions()
        options.log_severity_level = ONLY_FATAL
        options.inter_op_num_threads = settings.inter_op_threads
        if settings.parallel_operators:
            options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
        for key, value in settings.ort_entries.items():
            options.add_session_config_entry(key, value)
        on_cuda = device_id is not None and CUDA in ort.get_available_providers()
        deal_rows = settings.micro_batch > 0 and not on_cuda
        options.intra_op_num_threads = 1 if deal_rows else threads
        providers: list[str | tuple[str, dict[str, str]]] = [CPU]
        if on_cuda:
            # Full float32, and kernels chosen by rule instead of by stopwatch. They add up in whatever order all the
            # same, with `use_deterministic_compute` too (deploy/triton/README.md has what was measured).
            exact = {"device_id": str(device_id), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
            providers.insert(0, (CUDA, exact))
        self._session = ort.InferenceSession(model_file if content is None else content, options, providers=providers)
        self._micro_batch = settings.micro_batch if deal_rows else 0
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix=model_file.parts[-3]) if deal_rows else None
        self._threads = threads
        logger.info("%s runs on %s with %d threads", model_file, self.provider, threads)
        if on_cuda and self.provider != CUDA:  # ONNX Runtime itself continues with no more than a warning
            logger.warning("%s: no GPU, or not its CUDA and cuDNN on LD_LIBRARY_PATH; the CPU is used", model_file)

    @property
    def provider(self) -> str:
        """The execution provider that ONNX Runtime settled on, e.g. `CPUExecutionProvider`."""
        return str(self._session.get_providers()[0])

    def ports(self) -> tuple[Shapes, Shapes]:
        """The shapes of its inputs and of its outputs by name, without the batch; -1 where any size is taken."""

        def shapes(tensors: Sequence[ort.NodeArg]) -> Shapes:
            return {
                each.name: tuple(size if isinstance(size, int) else -1 for size in each.shape[1:]) for each in tensors
            }

        return shapes(self._session.get_inputs()), shapes(self._session.get_outputs())

    def run(
        self, inputs: Mapping[str, FloatArray], outputs: Sequence[str], options: ort.RunOptions | None = None
    ) -> dict[str, FloatArray]:
        """The named outputs for `inputs` `[B, ...]`, B at least 1; `options.terminate`, set by another thread, ends it.

        Raises: whatever ONNX Runtime raises.
        """
        rows = len(next(iter(inputs.values())))
        if self._workers is None or rows == 1:
            return dict(zip(outputs, self._session.run(list(outputs), dict(inputs), options), strict=True))

        def run_rows(part: slice) -> list[FloatArray]:
            found: list[FloatArray] = self._session.run(
                list(outputs), {name: array[part] for name, array in inputs.items()}, options
            )
            return found

        parts = list(self._workers.map(run_rows, _deal(rows, self._micro_batch, self._threads)))
        return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(outputs)}

    def close(self) -> None:
        """End the worker threads; what runs is finished first."""
        if self._workers is not None:
            self._workers.shutdown()


def _deal(rows: int, most: int, workers: int) -> list[slice]:
    """Cut `rows` into runs of at most `most` rows, as equal as can be and as many for each worker as for the next."""
    runs = -(-rows // most)
    runs = min(rows, -(-runs // workers) * workers)
    edges = [rows * i // runs for i in range(runs + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]
