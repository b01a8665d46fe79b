"""Triton's python-based backend `onnxruntime`: serves a model's `model.onnx` through the onnxruntime wheel.

It stands in for the native ONNX Runtime backend of NVIDIA's container where only the server's binary is at hand, and
takes the same model repository. Triton makes one `TritonPythonModel` for each instance, in a process of its own.

Tensors are handed over by DLPack: the stub in the wheel was built against NumPy 1, and the arrays that it makes and
takes itself have no item size under NumPy 2.
"""

import json
import os
import select
import signal
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from earwitness.inference.backend import FloatArray
from earwitness.inference.session import OnnxSession, OrtValue, SessionSettings

WORTH_ASKING_S = 0.02
"""Asking Triton whether a request was cancelled takes about 0.2 ms: done where runs are long."""
REASONS = 3
"""Most reasons that are told of a batch in which every request failed for one of its own."""
FAILURES = "nv_inference_request_failure"


class BatchFailed(Exception):
    """No request of a batch succeeded; says why."""


class TritonPythonModel:
    """One instance of a served model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model's version for the instance's device.

        `args["model_repository"]` is the model's own folder. An instance of kind GPU runs on CUDA where the
        onnxruntime wheel has it, else on the CPU.
        """
        with suppress(OSError):  # a kernel without pidfd
            Thread(target=_end_with_server, args=(os.pidfd_open(os.getppid()),), daemon=True).start()
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        on_gpu = args["model_instance_kind"] == "GPU"
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._session = OnnxSession(
            Path(args["model_repository"], args["model_version"], "model.onnx"),
            SessionSettings.from_parameters(parameters),
            device_id=int(args["model_instance_device_id"]) if on_gpu else None,
        )
        self._last_run_s = 0.0
        self._failures = pb_utils.MetricFamily(
            FAILURES, "Number of failed inference requests, all batch sizes", pb_utils.MetricFamily.COUNTER
        )
        self._failed, self._cancelled = (
            self._failures.Metric(labels=_labels(args, reason)) for reason in ("BACKEND", "CANCELED")
        )
        pb_utils.Logger.log_info(f"{args['model_name']} runs on {self._session.provider}")

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response for each request of a dynamic batch, all run as one batch.

        A request whose caller has gone is not run. Where the batch fails, its requests are run one by one, so that one
        which cannot be run fails alone.

        Triton counts every request of a batch as a success unless this raises, which it does where all failed.
        Failures beside successes, and requests that were not run, are counted here.

        Raises: BatchFailed.
        """
        ask = self._last_run_s > WORTH_ASKING_S
        gone = {i for i, request in enumerate(requests) if ask and request.is_cancelled()}
        wanted = [request for i, request in enumerate(requests) if i not in gone]
        start = time.monotonic()
        answers = self._run(wanted) if wanted else []
        self._last_run_s = time.monotonic() - start if wanted else self._last_run_s
        failures = [answer.error().message() for answer in answers if answer.has_error()]
        if failures and len(failures) == len(requests):
            raise BatchFailed(" | ".join(list(dict.fromkeys(failures))[:REASONS]))
        for counter, count in ((self._failed, len(failures)), (self._cancelled, len(gone))):
            if count:
                counter.increment(count)
        rest = iter(answers)
        return [
            _error("cancelled", pb_utils.TritonError.CANCELLED) if i in gone else next(rest)
            for i in range(len(requests))
        ]

    def finalize(self) -> None:
        """End the session's threads."""
        self._session.close()

    def _run(self, requests: list[Any]) -> list[Any]:
        try:
            return self._run_together(requests)
        except Exception as err:  # ONNX Runtime's exceptions share no base of their own
            if len(requests) == 1:
                return [_error(str(err), pb_utils.TritonError.INTERNAL)]
            return [response for request in requests for response in self._run([request])]

    def _run_together(self, requests: list[Any]) -> list[Any]:
        tensors: dict[str, list[Any]] = {
            name: [np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name)) for request in requests]
            for name in self._inputs
        }
        wanted = [list(request.requested_output_names()) for request in requests]
        inputs = {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in tensors.items()}
        outputs = self._session.run(inputs, sorted({name for names in wanted for name in names}))
        edges = np.cumsum([0, *(len(part) for part in tensors[self._inputs[0]])])
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor.from_dlpack(name, _owned(outputs[name][a:b])) for name in names]
            )
            for names, (a, b) in zip(wanted, pairwise(edges), strict=True)
        ]


def _owned(array: FloatArray) -> OrtValue:
    """A copy of `array` that lives until Triton has sent it, which is after `execute` has returned."""
    value = OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype)
    value.update_inplace(array)
    return value


def _error(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def _end_with_server(server: int) -> None:
    """End this process, and its shared memory, when Triton has ended, killed or not; `server` is its pidfd.

    The stub asks for itself whether there is still such a process, so it stays on while a server that was killed has
    not been waited for. Its shared memory only Triton removes: the region's name is the stub's second argument.
    """
    select.select([server], [], [])
    region = Path("/proc/self/cmdline").read_bytes().split(b"\0")[2].decode()
    try:
        Path("/dev/shm", region).unlink(missing_ok=True)  # noqa: S108 -- where shm_open makes its files
    finally:
        os.kill(os.getpid(), signal.SIGKILL)


def _labels(args: dict[str, str], reason: str) -> dict[str, str]:
    """Of a counter of failed requests of batches that Triton counts as successes.

    It joins Triton's own, whose labels are the first three. `counted_as` tells it from failures that Triton knows of.
    An instance has its own: a counter ends with the process that made it, whoever else counts with it.
    """
    return {
        "model": args["model_name"],
        "version": args["model_version"],
        "reason": reason,
        "counted_as": "success",
        "model_instance": args["model_instance_name"],
    }
