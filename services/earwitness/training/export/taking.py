"""What may be given as a network, and what is not one: told before anything is asked of it."""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.fx import GraphModule

from earwitness.training.export.errors import ExportError, ShapeError, SourceError
from earwitness.training.export.exporter import quiet
from earwitness.training.export.given import described

if TYPE_CHECKING:
    from earwitness.training.export.files.reading import OnnxFile

PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def as_network(role: str, given: object, spectrogram_shape: tuple[int, int], latent_size: int | None) -> nn.Module:
    """The network in torch that `given` is, wraps or is a script or a program of.

    Scripts have no gradient that could be exported and programs no layers, so they become ONNX, and that a network
    again, whose layers have the names of their weights.

    Raises: SourceError for what is no network, or has operations without rules; ShapeError.
    """
    if isinstance(given, PARALLEL):
        given = given.module
    if isinstance(given, torch.export.ExportedProgram):
        return _network(role, _program(role, given), spectrogram_shape)
    if not isinstance(given, nn.Module):
        raise SourceError(f"{role}: got {described(given)}")
    if inside := [path for path, module in given.named_modules() if isinstance(module, torch.jit.ScriptModule)]:
        return _network(role, _script(role, given, inside[0], spectrogram_shape, latent_size), spectrogram_shape)
    if isinstance(given, GraphModule) and hasattr(given, "_in_spec"):
        return _network(role, _program(role, _exported_again(role, given)), spectrogram_shape)
    return given


def _network(role: str, file: "OnnxFile", spectrogram_shape: tuple[int, int]) -> nn.Module:
    # Imported here, as below: files export by what takes its networks by this module.
    from earwitness.errors import InvalidArgument
    from earwitness.registration.axes import Intake, axes_of
    from earwitness.training.export.files.heard import FileClassifier, FileGenerator

    try:
        if role == "generator":
            return FileGenerator(file, spectrogram_shape)
        intake = Intake(file.given, axes_of(file.given, spectrogram_shape), spectrogram_shape)
        return FileClassifier(file, intake, file.outputs[0].name)
    except InvalidArgument as err:
        raise ShapeError(f"{role}: {err.description}") from err
    except ShapeError:
        raise
    except ExportError as err:
        raise SourceError(
            f"{file.source}: its gradient cannot be exported: {err}. Give the module that it was made of; or save it, "
            "and give the file to `earwitness export`, which exports a classifier without a gradient, too"
        ) from err


def _script(
    role: str, module: nn.Module, inside: str, spectrogram_shape: tuple[int, int], latent_size: int | None
) -> "OnnxFile":
    from earwitness.training.export.files.reading import script_as_onnx

    rows: list[tuple[int, ...]] = [(1, *spectrogram_shape), spectrogram_shape]
    if role == "generator":
        if latent_size is None:
            raise ShapeError("latent_size: TorchScript does not say the size of its latent; give it")
        rows = [(latent_size,), (latent_size, 1, 1)]
    training, whole = module.training, module.eval()
    try:
        if inside:
            with quiet():
                whole = torch.jit.script(module)
        return script_as_onnx(f"{role} (TorchScript)", whole, rows)
    except (RuntimeError, TypeError, ValueError) as err:
        if isinstance(err, ExportError) and not inside:
            raise
        raise SourceError(
            f"{role}: its module {inside!r} is TorchScript, and the rest cannot be made to be: give modules in place "
            "of scripts, or a script of all (torch.jit.script)"
        ) from err
    finally:
        module.train(training)


def _program(role: str, program: torch.export.ExportedProgram) -> "OnnxFile":
    from earwitness.training.export.files.reading import program_as_onnx

    return program_as_onnx(f"{role} (torch.export)", program)


def _exported_again(role: str, module: GraphModule) -> torch.export.ExportedProgram:
    """The program of a module that one was made into: without the checks of its input, its batch dynamic if it was."""
    plain = GraphModule(module, module.graph)
    for node in list(plain.graph.nodes):
        if node.op == "call_module" and str(node.target) == "_guards_fn":
            plain.graph.erase_node(node)
    plain.recompile()
    (given, *others) = plain.graph.find_nodes(op="placeholder")
    if others:
        raise SourceError(f"{role}: takes {1 + len(others)} tensors, a search gives it one")
    shape: Any = given.meta["val"].shape
    fixed = isinstance(shape[0], int)
    example = torch.zeros(shape[0] if fixed else 3, *shape[1:])
    dynamic = None if fixed else ({0: torch.export.Dim("rows", min=1)},)
    try:
        return torch.export.export(plain, (example,), dynamic_shapes=dynamic)
    except Exception as err:  # torch.export raises as it pleases
        first = next(iter(str(err).splitlines()), type(err).__name__)
        raise SourceError(f"{role}: is a module of torch.export that it does not export again: {first}") from err
