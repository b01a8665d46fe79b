"""values.yaml: nothing dead, nothing undocumented; what is generated from it is current."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.deploy.chart import FOLDER, ROOT, VARIANTS, Chart, RenderError, values_file, values_of


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """deploy/helm/generate.py."""
    spec = spec_from_file_location("generate", ROOT / "deploy/helm/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_generated_is_current(generate: ModuleType) -> None:
    for file, content in (("values.schema.json", generate.schema()), ("README.md", generate.readme())):
        assert (FOLDER / file).read_text() == content, f"{file} is stale: run `python deploy/helm/generate.py`"


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 7
    if isinstance(value, str):
        return f"{value}7"
    if isinstance(value, list):
        return [*value, {"name": "more"}]
    return {**value, "more": "7"}


def test_every_value_is_used(chart: Chart, generate: ModuleType) -> None:
    """A change of any one changes what helm prints, or is refused by a template, in at least one variant."""
    leaves = dict(generate.leaves(yaml.safe_load((FOLDER / "values.yaml").read_text())))
    unused = [
        ".".join(path)
        for path, value in leaves.items()
        if not any(_matters(chart, variant, path, value) for variant in _likeliest_first(path))
    ]
    assert not unused


def _likeliest_first(path: tuple[str, ...]) -> list[str]:
    """The variants, first those whose own values come closest to this one."""

    def depth(variant: str) -> int:
        found: Any = values_of(variant)
        for index, key in enumerate(path):
            if not isinstance(found, dict) or key not in found:
                return index
            found = found[key]
        return len(path)

    return sorted(VARIANTS, key=lambda variant: (-depth(variant), variant != "default"))


def _matters(chart: Chart, variant: str, path: tuple[str, ...], value: Any) -> bool:
    """Whether the value, when it is another one than the default, makes a difference there."""
    override = f"{'.'.join(path)}={json.dumps(changed(value))}"
    try:
        text = chart.render("--skip-schema-validation", "--values", values_file(variant), "--set-json", override)
    except RenderError:
        return True
    return text != chart.text_of(variant)
