"""Rules for operators that move values: shapes, slices, axes. Shapes stay whole numbers, symbolic in the batch."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 -- as everybody calls it
from torch import Tensor

from earwitness.training.export.files.values import Arguments, NoRule, Sizes, Value, text

END = 2**31 - 1
"""From here on an end means the end."""


def _reshape(given: Arguments) -> Value:
    value, shape = given.value(0), list(given.sizes(1))
    if isinstance(value, Sizes):
        return Sizes(value.values, scalar=not shape)
    if not given.attribute("allowzero", 0):
        shape = [value.shape[axis] if type(size) is int and size == 0 else size for axis, size in enumerate(shape)]
    return value.reshape(shape)


def _flatten(given: Arguments) -> Value:
    x, axis = given.tensor(0), given.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 1:
        return x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)
    if axis == 0:
        return x.reshape(1, -1)
    return x.flatten(axis).flatten(0, axis - 1)


def _transpose(given: Arguments) -> Value:
    x = given.tensor(0)
    return x.permute(tuple(given.attribute("perm", range(x.ndim)[::-1])))


def _squeeze(given: Arguments) -> Value:
    value, axes = given.value(0), given.axes(1)
    if isinstance(value, Sizes):
        return Sizes(value.values, scalar=True)
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(value.shape) if axis and type(size) is int and size == 1)
    return value.squeeze(axes)


def _unsqueeze(given: Arguments) -> Value:
    value, axes = given.value(0), given.axes(1) or ()
    if isinstance(value, Sizes):
        if not value.scalar or len(axes) != 1:
            raise NoRule("it makes a shape of more than one axis")
        return Sizes(value.values)
    rank = value.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _concat(given: Arguments) -> Value:
    values = [given.value(place) for place in range(len(given))]
    if any(isinstance(value, Sizes) for value in values):
        return Sizes(tuple(size for place in range(len(given)) for size in given.sizes(place)))
    return torch.cat([given.tensor(place) for place in range(len(given))], dim=given.attribute("axis"))


def _split(given: Arguments) -> list[Value]:
    x, axis = given.tensor(0), given.attribute("axis", 0)
    sizes = given.attribute("split")
    if sizes is None and given.has(1):
        sizes = given.sizes(1)
    count = len(given.operation.outputs)
    if sizes is None:
        sizes = [len(part) for part in np.array_split(np.arange(int(x.shape[axis])), count)]
        if given.attribute("num_outputs") is not None:  # the last is smaller, not the first larger
            most = -(-int(x.shape[axis]) // count)
            sizes = [min(most, int(x.shape[axis]) - most * index) for index in range(count)]
    return list(torch.split(x, [int(size) for size in sizes], dim=axis))


def _slice(given: Arguments) -> Value:
    value = given.value(0)
    if given.attribute("starts") is not None:  # of opset 9 and older
        starts, ends = tuple(given.attribute("starts")), tuple(given.attribute("ends"))
        axes = tuple(given.attribute("axes", range(len(starts))))
    else:
        starts, ends = given.sizes(1), given.sizes(2)
        axes = given.sizes(3) if given.has(3) else tuple(range(len(starts)))
    steps = given.sizes(4) if given.has(4) else (1,) * len(starts)
    if isinstance(value, Sizes):
        return Sizes(value.values[slice(starts[0], None if ends[0] >= END else ends[0], steps[0])])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step < 1:
            value = _sliced_backwards(value, int(start), int(end), int(axis), int(step))
        else:
            whole = type(end) is int and end >= END
            index = slice(start, None if whole else end, None if step == 1 else step)
            value = value[(slice(None),) * (axis % value.ndim) + (index,)]
    return value


def _sliced_backwards(x: Tensor, start: int, end: int, axis: int, step: int) -> Tensor:
    places = list(range(int(x.shape[axis])))[slice(start, None if end <= -END else end, step)]
    return x.index_select(axis, torch.tensor(places, dtype=torch.int64))


def _gather(given: Arguments) -> Value:
    value, axis = given.value(0), given.attribute("axis", 0)
    if isinstance(value, Sizes):
        indices = given.sizes(1)
        scalar = 1 in given.known and given.known[1].ndim == 0
        return Sizes(tuple(value.values[index] for index in indices), scalar)
    known = given.known.get(1)
    if known is not None and known.size == 1:  # a plain step into the axis
        index = int(known.ravel()[0]) % int(value.shape[axis])
        found = value.select(axis, index)
        return found if known.ndim == 0 else found.unsqueeze(axis)
    places = given.tensor(1)
    places = torch.where(places < 0, places + value.shape[axis], places)
    found = value.index_select(axis, places.reshape(-1))
    shape = [*value.shape[: axis % value.ndim], *places.shape, *value.shape[axis % value.ndim + 1 :]]
    return found.reshape(shape)


def _shape(given: Arguments) -> Value:
    sizes = tuple(given.tensor(0).shape)
    return Sizes(sizes[given.attribute("start", 0) : given.attribute("end", len(sizes))])


def _constant_of_shape(given: Arguments) -> Value:
    filled = given.attribute("value")
    number = 0.0 if filled is None else np.ravel(filled)[0].item()
    shape = given.sizes(0)
    if isinstance(number, int) and not isinstance(number, bool) and len(shape) == 1 and type(shape[0]) is int:
        return Sizes((number,) * shape[0])  # a shape in the making
    kind = torch.float32 if isinstance(number, float) else torch.bool if isinstance(number, bool) else torch.int64
    return torch.full(shape, number, dtype=kind)


def _expand(given: Arguments) -> Value:
    x, shape = given.tensor(0), list(given.sizes(1))
    shape = [1] * (x.ndim - len(shape)) + shape
    own = [1] * (len(shape) - x.ndim) + list(x.shape)
    one = [type(size) is int and size == 1 for size in shape]
    return x.expand([mine if single else size for size, mine, single in zip(shape, own, one, strict=True)])


def _pad(given: Arguments) -> Value:
    x, mode = given.tensor(0), text(given.attribute("mode", "constant"))
    pads = given.attribute("pads")
    pads = list(given.sizes(1)) if pads is None else list(pads)
    rank = len(pads) // 2
    axes = [axis % x.ndim for axis in given.sizes(3)] if given.has(3) else list(range(rank))
    before, after = dict(zip(axes, pads[:rank], strict=True)), dict(zip(axes, pads[rank:], strict=True))
    flat = [int(side.get(axis, 0)) for axis in reversed(range(x.ndim)) for side in (before, after)]
    while len(flat) > 2 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    if mode == "constant":
        return F.pad(x, flat, value=given.number(2, given.attribute("value", 0.0)) or 0.0)
    if mode in ("reflect", "edge"):
        return F.pad(x, flat, mode="reflect" if mode == "reflect" else "replicate")
    raise NoRule(f"it pads in mode {mode!r}")


def _tile(given: Arguments) -> Value:
    return given.tensor(0).repeat([int(size) for size in given.sizes(1)])


def _range(given: Arguments) -> Value:
    ends = [given.sizes(place)[0] for place in range(3)]
    if any(type(end) is not int for end in ends):
        raise NoRule("it counts to a number that depends on the batch")
    return Sizes(tuple(range(*ends)))


def _depth_to_space(given: Arguments) -> Value:
    if text(given.attribute("mode", "DCR")) != "CRD":
        raise NoRule("it is of mode DCR")
    return F.pixel_shuffle(given.tensor(0), given.attribute("blocksize"))


def _resize(given: Arguments) -> Value:
    x = given.tensor(0)
    mode, where = (
        text(given.attribute("mode", "nearest")),
        text(given.attribute("coordinate_transformation_mode", "half_pixel")),
    )
    last = len(given) - 1
    if given.operation.operator == "Upsample":
        factors, where = given.known[1].ravel(), "asymmetric"
    elif last == 3 and given.has(3):
        sizes = [int(size) for size in given.sizes(3)[2:]]
        factors = np.array([1, 1, *(size / int(own) for size, own in zip(sizes, x.shape[2:], strict=True))])
    elif given.has(2) and 2 in given.known:
        factors = given.known[2].ravel()
    else:
        raise NoRule("its scales are no constants")
    if len(factors) != x.ndim or any(factors[:2] != 1):
        raise NoRule("it resizes batch or channels")
    target = [round(float(factor) * int(own)) for factor, own in zip(factors[2:], x.shape[2:], strict=True)]
    if mode == "nearest" and all(float(factor).is_integer() for factor in factors):
        return F.interpolate(x, size=target, mode="nearest")
    if mode == "linear" and where in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        name = {3: "linear", 4: "bilinear", 5: "trilinear"}[x.ndim]
        return F.interpolate(x, size=target, mode=name, align_corners=where == "align_corners")
    raise NoRule(f"it resizes by {mode!r} with coordinates {where!r} and factors {factors.tolist()}")


RULES: Mapping[str, Callable[[Arguments], Value | list[Value]]] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "DepthToSpace": _depth_to_space,
    "Einsum": lambda given: torch.einsum(
        text(given.attribute("equation")), *(given.tensor(place) for place in range(len(given)))
    ),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Upsample": _resize,
}
