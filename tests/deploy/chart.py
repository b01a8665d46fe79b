"""The chart as Kubernetes gets it: rendered by the real helm, read back as objects."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from earwitness.folders import cache_folder

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/helm/earwitness"
VARIANTS = tuple(sorted(path.name.removesuffix("-values.yaml") for path in (FOLDER / "ci").glob("*-values.yaml")))
OPERATORS = ("monitoring.coreos.com/v1", "keda.sh/v1alpha1")
RELEASE = "earwitness"
NAMESPACE = "audio"
Manifest = Mapping[str, Any]


def tool(name: str) -> Path:
    """A program that tests/install-tools.sh fetches."""
    path = cache_folder() / "tools" / name
    assert path.is_file(), f"{path} is missing; tests/install-tools.sh fetches it"
    return path


@dataclass(frozen=True)
class Pods:
    """A workload's pods: the object that makes them, and their template."""

    owner: Manifest
    template: Manifest

    @property
    def component(self) -> str:
        return str(self.labels["app.kubernetes.io/component"])

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.template["metadata"]["labels"]
        return labels

    @property
    def spec(self) -> Manifest:
        spec: Manifest = self.template["spec"]
        return spec

    @property
    def containers(self) -> Sequence[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def environment(self) -> Mapping[str, Any]:
        """Of the main container, each value or where it comes from."""
        env = self.spec["containers"][0].get("env", [])
        return {each["name"]: each.get("value", each.get("valueFrom")) for each in env}

    @property
    def ports(self) -> Mapping[str, int]:
        """Of the main container, by their names."""
        return {each["name"]: each["containerPort"] for each in self.spec["containers"][0].get("ports", [])}


@dataclass(frozen=True)
class Rendered:
    """The objects of one rendering."""

    objects: Sequence[Manifest]

    def of(self, *kinds: str) -> list[Manifest]:
        """The objects of these kinds."""
        return [each for each in self.objects if each["kind"] in kinds]

    def named(self, kind: str, name: str) -> Manifest:
        """The one object of that kind and name."""
        (found,) = [each for each in self.of(kind) if each["metadata"]["name"] == name]
        return found

    def pods(self) -> list[Pods]:
        """Everything that makes pods: workloads, jobs, the pod of `helm test`."""
        made = [Pods(each, each["spec"]["template"]) for each in self.of("Deployment", "StatefulSet", "Job")]
        return [*made, *(Pods(each, each) for each in self.of("Pod"))]

    def servers(self) -> list[Pods]:
        """The pods that serve."""
        return [each for each in self.pods() if each.owner["kind"] in ("Deployment", "StatefulSet")]

    def selected_by(self, selector: Mapping[str, str]) -> list[Pods]:
        """The pods with these labels."""
        return [each for each in self.pods() if selector.items() <= each.labels.items()]


class RenderError(AssertionError):
    """What helm said."""


class Chart:
    """Renders the chart; the variants of ci/ once each."""

    @cache  # noqa: B019 -- one for a session
    def variant(self, name: str) -> Rendered:
        """The objects of a file in ci/."""
        return objects(self.text_of(name))

    @cache  # noqa: B019
    def text_of(self, name: str) -> str:
        """What helm prints for a file in ci/."""
        return self.render("--values", values_file(name))

    def render(self, *arguments: str, operators: Sequence[str] = OPERATORS) -> str:
        """What `helm template` prints for these arguments. Raises: RenderError."""
        apis = [word for each in operators for word in ("--api-versions", each)]
        return self.helm("template", RELEASE, str(FOLDER), "--namespace", NAMESPACE, *apis, *arguments)

    @staticmethod
    def helm(*arguments: str) -> str:
        """What helm prints. Raises: RenderError."""
        done = subprocess.run([tool("helm"), *arguments], capture_output=True, text=True)
        if done.returncode:
            raise RenderError(done.stderr)
        return done.stdout


def objects(text: str) -> Rendered:
    """The objects in what helm prints."""
    return Rendered([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])


def values_file(variant: str) -> str:
    """The file in ci/ of that name."""
    return str(FOLDER / "ci" / f"{variant}-values.yaml")


def values_of(variant: str) -> Mapping[str, Any]:
    """What a file in ci/ sets."""
    values: Mapping[str, Any] = yaml.safe_load(Path(values_file(variant)).read_text())
    return values


def strings(content: Any) -> Iterator[str]:
    """Every string of an object, at any depth."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from strings(value)
