"""Models of a Triton of one's own, of its python backend: a forest of scikit-learn, and one that nobody can read.

Both hear the tiny bundle's spectrograms, in other shapes and under other names than ours.
"""

import json
import pickle
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from tests.helpers.tiny_bundle import TinyBundle

Array = NDArray[np.float64]
SITE_PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))

PYTHON = """
import sys
sys.path.insert(0, {site_packages!r})  # the stub's interpreter knows its own packages alone
import numpy as np
import triton_python_backend_utils as pb_utils
from onnxruntime import OrtValue
{imports}

def given(request, name):
    return np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name))

def tensor(name, array):
    value = OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype)
    value.update_inplace(np.ascontiguousarray(array))
    return pb_utils.Tensor.from_dlpack(name, value)

class TritonPythonModel:
    def initialize(self, args):
        folder = args["model_repository"] + "/" + args["model_version"]
        {initialize}

    def execute(self, requests):
        return [pb_utils.InferenceResponse(self.answer(request)) for request in requests]

    def answer(self, request):
        {answer}
"""


def forest(bundle: TinyBundle) -> RandomForestClassifier:
    """Tells whether the tiny generator's spectrograms are loud in their lower half."""
    x = bundle.spectrogram(np.random.default_rng(3).standard_normal((400, bundle.metadata.latent_size)))
    lower = x[:, :4].mean(axis=(1, 2))
    return RandomForestClassifier(60, random_state=0).fit(x.reshape(len(x), -1), lower > np.median(lower))


def write_forest(repository: Path, bundle: TinyBundle, name: str = "forest") -> RandomForestClassifier:
    """A model of scikit-learn as people serve them: float64 rows `[96]` in, `label` and `probabilities` out."""
    fitted = forest(bundle)
    folder = _write(
        repository,
        name,
        """
        max_batch_size: 64
        input { name: "X" data_type: TYPE_FP64 dims: [ 96 ] }
        output { name: "label" data_type: TYPE_INT64 dims: [ 1 ] }
        output { name: "probabilities" data_type: TYPE_FP64 dims: [ 2 ] }
        dynamic_batching { }
        """,
        imports="import pickle",
        initialize='self.forest = pickle.load(open(folder + "/forest.pickle", "rb"))',
        answer="""
        p = self.forest.predict_proba(given(request, "X"))
        return [tensor("label", p.argmax(1)[:, None].astype(np.int64)), tensor("probabilities", p)]""",
    )
    (folder / "1" / "forest.pickle").write_bytes(pickle.dumps(fitted))
    return fitted


class Sealed:
    """A judge behind a socket: `score` of frames × bands, and what it is made of."""

    def __init__(self, bands: int, frames: int) -> None:
        rng = np.random.default_rng(17)
        self._weights = rng.normal(size=(3, frames, bands))
        self.calls = 0

    def answer(self, x: Array) -> tuple[Array, Array]:
        """Spectrograms `[B, frames, bands]` → scores `[B, 3]`, contours `[B, 3, frames]`."""
        self.calls += 1
        contours = np.tanh(np.einsum("cfb,nfb->ncf", self._weights, x + 6) / 4)
        return contours.sum(axis=2), contours


@contextmanager
def sealed(bands: int, frames: int) -> Iterator[tuple[Sealed, int]]:
    """The judge, and the port that it answers on, in lines of JSON."""
    judge = Sealed(bands, frames)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                answers = judge.answer(np.array(json.loads(line)))
                self.wfile.write(json.dumps([each.tolist() for each in answers]).encode() + b"\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield judge, server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def write_sealed(repository: Path, port: int, bands: int, frames: int, name: str = "sealed") -> None:
    """A model that only hands over what it is asked: nothing in the repository tells what it computes.

    It has no batch of Triton's: its tensors have an axis of any size in front, and behind the bands an axis of one.
    """
    _write(
        repository,
        name,
        f"""
        max_batch_size: 0
        input {{ name: "frames" data_type: TYPE_FP32 dims: [ -1, {frames}, {bands}, 1 ] }}
        output {{ name: "scores" data_type: TYPE_FP32 dims: [ -1, 3 ] }}
        output {{ name: "contours" data_type: TYPE_FP32 dims: [ -1, 3, {frames} ] }}
        """,
        imports="import json, socket",
        initialize=f'self.far = socket.create_connection(("127.0.0.1", {port})).makefile("rw")',
        answer="""
        print(json.dumps(given(request, "frames")[..., 0].tolist()), file=self.far, flush=True)
        scores, contours = json.loads(self.far.readline())
        return [
            tensor("scores", np.array(scores, np.float32)), tensor("contours", np.array(contours, np.float32))
        ]""",
    )


def write_python(repository: Path, name: str, config: str, answer: str) -> None:
    """A model of a few lines."""
    _write(repository, name, config, imports="", initialize="pass", answer=answer)


def _write(repository: Path, name: str, config: str, **parts: Any) -> Path:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(
        f'name: "{name}"\nbackend: "python"\n{config}\ninstance_group {{ count: 1 kind: KIND_CPU }}\n'
    )
    (folder / "1" / "model.py").write_text(PYTHON.format(site_packages=SITE_PACKAGES, **parts))
    return folder
