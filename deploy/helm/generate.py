"""Writes what of the chart follows from elsewhere: the services' settings in its schema, the values in its README.

`python deploy/helm/generate.py` after a change of a service's settings or of values.yaml.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from earwitness.explainer.settings import ExplainerSettings
from earwitness.rpc.settings import ServerSettings
from earwitness.scorer.settings import ScorerSettings

CHART = Path(__file__).parent / "earwitness"
SERVICES: Mapping[str, type[ServerSettings]] = {"explainer": ExplainerSettings, "scorer": ScorerSettings}
OWN = re.compile(
    r"host|(metrics_|health_)?port|((scorer|triton)_)?tls_\w+|(scorer_)?token_file|scorer_address|database_url|data_dir|backend"
    r"|triton_url|model_repository|trace_endpoint"
)
"""Settings that follow from other values of the chart."""
REQUIRED = ("drain_notice_s", "drain_s")
"""Settings from which the pods' grace period follows."""
KEYWORDS = ("description", "type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
TABLE = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- /values -->)", re.DOTALL)
COMMENT = re.compile(r"^\s*# (-- )?(?P<text>.*)")
KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w.]+):")


def schema() -> str:
    """values.schema.json with today's settings and values.

    All values are required: one that a user sets to null is taken out by helm, and what it guards would be gone.
    """
    content = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    _require(content, yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))
    for service, settings in SERVICES.items():
        content["definitions"][f"{service}Settings"] = {
            "type": "object",
            "additionalProperties": False,
            "required": list(REQUIRED),
            "properties": {
                name: _keywords(field)
                for name, field in settings.model_json_schema()["properties"].items()
                if not OWN.fullmatch(name)
            },
        }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """README.md with today's values."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    comments = dict(_comments(values))
    rows = [
        f"| `{'.'.join(path)}` | `{json.dumps(value, ensure_ascii=False)}` | {comments.get(path, '')} |"
        for path, value in leaves(yaml.safe_load(values))
    ]
    table = "\n".join(["| value | default | |", "|---|---|---|", *rows, ""])
    return TABLE.sub(lambda found: table, text)


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value with its path; maps whose keys the user chooses count as one."""
    for key, value in values.items():
        closed = isinstance(value, dict) and value and key not in ("requests", "limits", "labels")
        if closed:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _require(schema: dict[str, Any], values: Mapping[str, Any]) -> None:
    schema["required"] = list(values)
    for key, value in values.items():
        if "properties" in (field := schema["properties"][key]):
            _require(field, value)


def _keywords(field: Mapping[str, Any]) -> dict[str, Any]:
    """A setting's field as the schema has it: what may be unset is left out there."""
    kinds = [each for each in field.get("anyOf", [field]) if each.get("type") != "null"]
    assert len(kinds) == 1, field
    return {word: source[word] for word in KEYWORDS for source in (field, kinds[0]) if word in source}


def _comments(values: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """What values.yaml says above a key, from ` # -- ` on."""
    path: list[tuple[int, str]] = []
    said: list[str] = []
    for line in values.splitlines():
        if key := KEY.match(line):
            indent = len(key["indent"])
            path = [*(each for each in path if each[0] < indent), (indent, key["key"])]
            if said:
                yield tuple(name for _, name in path), " ".join(said)
            said = []
        elif comment := COMMENT.match(line):
            said = [comment["text"]] if comment[1] else [*said, comment["text"]]


if __name__ == "__main__":
    for file, content in (("values.schema.json", schema()), ("README.md", readme())):
        (CHART / file).write_text(content, encoding="utf-8")
