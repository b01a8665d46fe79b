"""Errors in words of the command line: its options in place of fields of requests, its commands in place of RPCs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

Options = Mapping[str, str]
"""What a command takes: names of its parameters in Python, and how they are typed, e.g. `learning_rate`: `--lr`."""

_SETTINGS = ("learning_rates prior_weights steps",)
_REAL_AUDIO = ("file", "audio activations")
FIELDS: Mapping[str, tuple[str, ...]] = {
    "rows": ("count",),
    "seed_count": ("seeds",),
    "objective": ("unit", "units"),
    "objectives": ("units directions",),
    "unit": ("unit", "units"),
    "layer": ("layer", "layers"),
    "direction": ("direction", "directions"),
    "direction.units": ("direction", "directions"),
    "direction.weights": ("direction", "directions"),
    "sense": ("maximise",),
    "criterion.layer_distance": ("criterion",),
    "criterion.layer_nearness": ("criterion",),
    "plan": _SETTINGS,
    "grid": _SETTINGS,
    "settings_list": _SETTINGS,
    "settings_list.settings": _SETTINGS,
    "learning_rate": ("learning_rate", "learning_rates"),
    "prior_weight": ("prior_weight", "prior_weights"),
    "optimiser": ("optimiser", "optimisers", "way"),
    "settings.target": ("target", "targets"),
    "settings.start_draws": ("start_draws", "start_draw_counts"),
    "settings.draws": ("draws", "draw_counts"),
    "keep_count": ("oversample", "keep"),
    "nearness": ("nearness_layers",),
    "resume_from": ("sweep",),
    "reference_id": ("name",),
    "kept_layers": ("keep_layers",),
    "selection": ("top bottom",),
    "selection.top": ("top",),
    "selection.top.k": ("top",),
    "selection.bottom": ("bottom",),
    "selection.bottom.k": ("bottom",),
    "header.reference": ("name",),
    "header": _REAL_AUDIO,
    "chunk": _REAL_AUDIO,
    "reference": ("reference", "references"),
    "references": ("references",),
    "recordings": ("recordings", "audio"),
    "hop_frames": ("hop",),
    "target": ("explainer scorer",),
}
"""Ends of fields' paths, and the parameters that set them: the first of them that a command has, or several together.

A field that a parameter has the name of is not here.
"""
NAMES: Mapping[str, tuple[str, ...]] = {
    "models": ("model",),
    "references": ("name", "reference", "references"),
    "sweeps": ("sweep",),
}
"""Parameters for `name`, which many requests have, by the collection that the name is of."""
COMMANDS = {
    "ListModels": "models",
    "GetModel": "models",
    "StreamExplain": "explain",
    "CreateSweep": "sweep",
    "GetSweep": "sweeps show",
    "WatchSweep": "sweeps watch",
    "StreamSweepExplanations": "sweeps show --out",
    "RankSweep": "sweeps rank",
    "ListOperations": "sweeps list",
    "GetOperation": "sweeps watch",
    "WaitOperation": "sweeps watch",
    "CancelOperation": "sweeps cancel",
    "DeleteOperation": "sweeps delete",
    "CreateReference": "reference build",
    "AppendActivations": "reference build",
    "MergeStatistics": "reference import",
    "FreezeReference": "reference build",
    "ReadStatistics": "reference export",
    "GetReference": "reference show",
    "MeasureNearness": "explain --oversample",
    "ListReferences": "reference list",
    "DeleteReference": "reference delete",
}
"""RPCs that messages name (not those whose name is an English word), and the command that calls each."""
_RPC = re.compile(rf"(?<![/\w])(?:{'|'.join(COMMANDS)})\b")
_CANCEL = re.compile(r"\bcancel operations/(\S+)")
_PATH = re.compile(r"(?<![\w./'\"`-])[a-z]+(?:_[a-z0-9]+)*(?:(?:\[\d+\])?\.[a-z]\w*|\[\d+\])*(?![\w/'\"`])")
_ROOTS = ("search", "sweep", "reference", "header", "batches", "objectives", "references", "settings")


def options_of(context: Any) -> Options:
    """All options and arguments of the command that a click context is of, and of the groups above it."""
    options: dict[str, str] = {}
    while context is not None:
        options = {each.name: _typed(each) for each in context.command.params} | options
        context = context.parent
    return options


def _typed(parameter: Any) -> str:
    """A click parameter as people type it: `--lr`, `--maximise/--minimise`; an argument in capitals, `NAME`."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    sides = (parameter.opts, parameter.secondary_opts)
    return "/".join(max(names, key=len) for names in sides if names)


def option(field: str, options: Options, description: str = "") -> str | None:
    """How the field of a request is set on the command line, None where no option does; `description` says what is
    wrong with it, and so of which collection a `name` is."""
    parts = re.sub(r"\[\d+\]", "", field).split(".")
    within = (parts[:length] for length in range(len(parts), 0, -1))  # the field, or what it is a part of
    return next(filter(None, (_option(each, options, description) for each in within)), None)


def _option(parts: Sequence[str], options: Options, description: str) -> str | None:
    collection = re.search(r"(?:^is|must be) '(\w+)/", description)
    if parts[-1] == "name" and collection:
        candidates = NAMES.get(collection[1], ())
    else:
        ends = [".".join(parts[start:]) for start in range(len(parts))]
        candidates = next((FIELDS[end] for end in ends if end in FIELDS), (parts[-1],))
    for each in candidates:
        typed = [options[name] for name in each.split() if name in options]
        if typed:
            return ", ".join(typed)
    return None


def violation(field: str, description: str, options: Options) -> str:
    """What is wrong with a field of a request, in words of the command line."""
    name = option(field, options, description) or field.rpartition(".")[2]
    return f"{name}: {translated(description, options)}"


def translated(text: str, options: Options) -> str:
    """A message with options in place of the paths of fields in it, and commands in place of RPCs."""
    text = _CANCEL.sub(r"`earwitness sweeps cancel \1`", text)
    text = _RPC.sub(lambda found: f"`earwitness {COMMANDS[found[0]]}`", text)

    def typed(found: re.Match[str]) -> str:
        root, *parts = re.sub(r"\[\d+\]", "", found[0]).split(".")
        is_field = root in _ROOTS if parts or root != found[0] else "_" in root
        return (_option([root, *parts], options, "") if is_field else None) or found[0]

    return _PATH.sub(typed, text)
