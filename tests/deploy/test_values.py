"""values.yaml: nothing dead, nothing undocumented; what is generated from it is current."""

import json
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.deploy.chart import FOLDER, ROOT, VARIANTS, Chart, RenderError, Rendered


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
    """A change of any one changes what helm renders, or is refused by a template, in at least one variant."""
    unused = []
    for path, value in generate.leaves(yaml.safe_load((FOLDER / "values.yaml").read_text())):
        if not any(_matters(chart, variant, ".".join(path), value) for variant in _likely_first(path[0])):
            unused.append(".".join(path))
    assert not unused


def _likely_first(section: str) -> Iterator[str]:
    likely = {"database": "postgresql", "auth": "tls", "monitoring": "monitoring", "keda": "keda"}
    first = likely.get(section, "default")
    yield from (first, *(variant for variant in VARIANTS if variant != first))


def _matters(chart: Chart, variant: str, path: str, value: Any) -> bool:
    """Whether the value, changed from what the variant has, makes a difference there."""
    file = str(FOLDER / "ci" / f"{variant}-values.yaml")
    override = f"{path}={json.dumps(changed(value))}"
    try:
        rendered: Rendered = chart.render("--skip-schema-validation", "--values", file, "--set-json", override)
    except RenderError:
        return True
    return rendered != chart.variant(variant)
