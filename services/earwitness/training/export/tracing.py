"""From a function over modules to a flat operator graph whose weights are attributes, with every node's layer known."""

import builtins
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx import GraphModule, Interpreter, Node
from torch.fx import traceback as fx_traceback
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.utils._python_dispatch import TorchDispatchMode

from earwitness.training.export.advice import OF_BATCH, advice_on, current_line, line_of
from earwitness.training.export.errors import ExportError, UnsupportedOperator
from earwitness.training.export.exporter import Decomposition, Operator
from earwitness.training.export.recurrence import in_one_piece

Tensors = Mapping[str, Tensor]
Function = Callable[..., Sequence[Tensor]]

EXAMPLE_ROWS = 3
"""Rows of the example batch; the batch is symbolic, the number only has to be neither 0 nor 1."""


class LayerStack(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Marks every operator with its layer: by hooks in a forward pass, by autograd's numbering in a backward one.

    Every autograd node carries the number it was given when its operator ran forward, so the span of numbers that
    passed while a module ran says whose gradient is being computed.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._networks = networks
        self._open: list[tuple[str, int]] = []
        self._spans: list[tuple[int, int, str]] = []
        self.operator = ""
        """The operator that ran last: what failed, after an exception."""
        self.fixed_at: tuple[str, str, str] | None = None
        """Operator, layer and line of code before which the batch's size was made a plain number."""
        self._batch: int | torch.SymInt = 0

    def begin(self, batch: int | torch.SymInt) -> None:
        """A new pass over so many rows; one that was broken off is forgotten."""
        self._open.clear()
        self._spans.clear()
        self.operator, self.fixed_at, self._batch = "", None, batch

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While open, follows all submodules of the networks and marks operators in the graph being traced."""
        handles = []
        for name, network in self._networks.items():
            for path, module in network.named_modules():
                handles.append(module.register_forward_pre_hook(self._entering(".".join(filter(None, (name, path))))))
                handles.append(module.register_forward_hook(self._leaving))
        try:
            with fx_traceback.preserve_node_meta(), self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    @property
    def layer(self) -> str:
        """Path of the layer whose operator or gradient is running; after an exception, of the layer that raised."""
        node = torch._C._current_autograd_node()
        if node is None:
            return self._open[-1][0] if self._open else ""
        number = node._sequence_nr()
        inside = [(end - start, path) for start, end, path in self._spans if start <= number < end]
        return min(inside)[1] if inside else ""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.namespace != "prim":  # what asks a tensor for its device
            self.operator = str(func)
        if self.fixed_at is None and not is_symbolic(self._batch):
            self.fixed_at = self.operator, self.layer, current_line()
        with fx_traceback.annotate({"layer": self.layer, "operator": str(func)}):
            return func(*args, **(kwargs or {}))

    def _entering(self, path: str) -> Callable[[nn.Module, object], None]:
        def enter(module: nn.Module, args: object) -> None:
            self._open.append((path, _sequence_number()))

        return enter

    def _leaving(self, module: nn.Module, args: object, output: object) -> None:
        path, start = self._open.pop()
        self._spans.append((start, _sequence_number(), path))


def node_origin(node: Node) -> tuple[str, str]:
    """(operator, layer) that a traced node comes from, before any decomposition."""
    marks = node.meta.get("custom", {})
    return str(marks.get("operator", node.target)), str(marks.get("layer", ""))


@dataclass(frozen=True)
class Traced:
    """A graph whose first placeholders are `weights`, by name, and whose others are the function's inputs."""

    graph: GraphModule
    weights: Tensors

    @property
    def examples(self) -> list[Tensor]:
        """Fake values of all placeholders."""
        return [node.meta["val"] for node in self.graph.graph.find_nodes(op="placeholder")]


def trace(function: Function, networks: Mapping[str, nn.Module], inputs: Mapping[str, Sequence[int]]) -> Traced:
    """The operators of `function(weights, *inputs)`, none decomposed, in-place ones made functional.

    `networks` supply the weights, which arrive in `function` as one dict per network. `inputs` gives each input's name
    and sizes behind the batch `[B, ...]`; B is symbolic and shared.

    Raises: UnsupportedOperator when the networks do what no graph can hold, such as a branch on values.
    """
    weights = {name: dict(_weights(network)) for name, network in networks.items()}
    flat = [tensor for tensors in weights.values() for tensor in tensors.values()]
    names = [f"{name}.{key}" for name, tensors in weights.items() for key in tensors]
    layers = LayerStack(networks)

    def flat_function(*arguments: Tensor) -> Sequence[Tensor]:
        remaining = iter(arguments)
        given = {name: {key: next(remaining) for key in tensors} for name, tensors in weights.items()}
        with layers.watching(), in_one_piece(lambda: layers.layer):
            return function(given, *remaining)

    def attempt(*, inside: bool) -> GraphModule:
        fake = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True, static_shapes=True)
        examples = [_batched(fake, sizes) for sizes in inputs.values()]
        layers.begin(examples[0].shape[0])
        # Without the Python dispatcher some operators' shape functions would fix the batch to the example's.
        with enable_python_dispatcher(), symbolic_len(), fake if inside else nullcontext():
            graph = make_fx(flat_function, _allow_non_fake_inputs=True)(*map(fake.from_tensor, flat), *examples)
        if not is_symbolic(examples[0].shape[0]):
            operator, layer, line = layers.fixed_at or ("(unknown)", "", "")
            raise UnsupportedOperator(operator, layer, f"{OF_BATCH.why}{_at(line)}", OF_BATCH.way_out)
        return graph

    try:
        graph = attempt(inside=False)
    except Exception as err:
        if isinstance(err, ExportError) and not isinstance(err, UnsupportedOperator):
            raise
        known = isinstance(err, UnsupportedOperator)
        outside = err if known else _refusal(layers.operator, layers.layer, err)
        # Inside the mode new tensors may have the batch's size; but constants have no values that a network could read.
        try:
            graph = attempt(inside=True)
        except ExportError:
            raise
        except Exception as inside:
            if "only concrete integers" not in str(err):
                raise outside from err
            raise _refusal(layers.operator, layers.layer, inside) from inside
    return _functional(Traced(graph, dict(zip(names, flat, strict=True))))


def retrace(traced: Traced, function: Function, decompositions: Mapping[Operator, Decomposition]) -> Traced:
    """The operators of `function`, which computes what `traced` does, with the origins of its nodes."""
    fake = next((each.fake_mode for each in traced.examples if isinstance(each, FakeTensor)), nullcontext())
    with fx_traceback.preserve_node_meta(), enable_python_dispatcher(), fake:
        graph = make_fx(function, decompositions, _allow_non_fake_inputs=True)(*traced.examples)
    return Traced(graph, traced.weights)


def with_weights(traced: Traced) -> GraphModule:
    """The graph with its weights as attributes; what is left of the placeholders are the function's inputs."""
    graph = traced.graph
    for node, (name, tensor) in zip(graph.graph.find_nodes(op="placeholder"), traced.weights.items(), strict=False):
        attribute = name.replace(".", "_")
        graph.register_buffer(attribute, tensor)
        with graph.graph.inserting_before(node):
            constant = graph.graph.get_attr(attribute)
        constant.meta["val"] = tensor
        node.replace_all_uses_with(constant)
        graph.graph.erase_node(node)
    return graph


def _functional(traced: Traced) -> Traced:
    """The same graph without in-place operators."""
    targets = [node.target for node in traced.graph.graph.nodes]
    if not any(isinstance(target, Operator) and target._schema.is_mutable for target in targets):
        return traced
    return retrace(traced, torch.func.functionalize(Interpreter(traced.graph).run), {})


@contextmanager
def symbolic_len() -> Iterator[None]:
    """While open, `len` of a tensor may be symbolic: Python's own makes a number of it, which would fix the batch."""
    plain = builtins.len

    def length(of: Any, /) -> Any:
        return of.shape[0] if isinstance(of, Tensor) and of.ndim else plain(of)

    builtins.len = length
    try:
        yield
    finally:
        builtins.len = plain


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, parameter in network.named_parameters():
        yield key, parameter.detach()
    yield from network.named_buffers()


def _batched(fake: FakeTensorMode, sizes: Sequence[int]) -> Tensor:
    dynamic = [DimDynamic.DUCK, *[DimDynamic.STATIC] * len(sizes)]
    context: StatelessSymbolicContext[Any, Any] = StatelessSymbolicContext(dynamic_sizes=dynamic)
    return fake.from_tensor(torch.zeros(EXAMPLE_ROWS, *sizes), static_shapes=False, symbolic_context=context)


def _sequence_number() -> int:
    """The number autograd will give to the next operator."""
    return int(torch._C._autograd._get_sequence_nr())


def is_symbolic(size: int | torch.SymInt) -> bool:
    """Whether a size is still any number."""
    return isinstance(size, torch.SymInt) and size.node.maybe_as_int() is None


def _refusal(operator: str, layer: str, err: Exception) -> UnsupportedOperator:
    advice, where = advice_on(operator, err), _at(line_of(err))
    if advice is None:
        return UnsupportedOperator(operator, layer, f"tracing it failed{where}: {_first_line(err)}")
    return UnsupportedOperator(operator, layer, f"{advice.why}{where}", advice.way_out)


def _at(line: str) -> str:
    return f", at {line}" if line else ""


def _first_line(err: Exception) -> str:
    return next(iter(str(err).strip().splitlines()), type(err).__name__)
