"""`make docs`, for real: every page is in the site, every link resolves, nothing is loaded from elsewhere. README.md's
picture, by a real browser."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import unquote, urlsplit

import matplotlib.image
import numpy as np
import pytest

import earwitness.client
from earwitness.client.output import write_run
from earwitness.explainer.v1 import explainer_pb2
from earwitness.scorer.v1 import scorer_pb2
from tests.deploy.chart import ROOT
from tests.unit.client.runs import run as example

SPHINX = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", "deploy/docs"]
LOADED = {"link": "href", "script": "src", "img": "src", "source": "src", "iframe": "src"}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """The links, the fetched files and the anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """What HTMLParser calls."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADED and LOADED[tag] in given and given.get("rel") not in ("index", "search", "next", "prev"):
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run([*SPHINX, ".", folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page by its file."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_make_docs_runs_the_same() -> None:
    (line,) = re.findall(r"-m sphinx .*", (ROOT / "Makefile").read_text())
    assert line.split() == [*SPHINX[1:], ".", "out/docs"]


def test_every_page_of_the_repository_is_there(site: Path) -> None:
    written = subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).split()
    assert "deploy/README.md" in written
    assert [each for each in written if not (site / each).with_suffix(".html").is_file()] == []
    assert 'url=README.html"' in (site / "index.html").read_text()


def test_every_link_leads_somewhere(pages: dict[Path, Page]) -> None:
    dead, followed = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            followed += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.is_file() and (
                target not in pages or unquote(parts.fragment) in {"", *pages[target].anchors}
            )
            if not there:
                dead.append(f"{path.name}: {link}")
    assert dead == []
    assert followed > 1000


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """No fonts, styles or scripts of others: it reads the same without a network."""
    for path, page in pages.items():
        for each in page.loaded:
            parts = urlsplit(each)
            assert (parts.scheme, parts.netloc) in (("", ""), ("data", "")), f"{path.name}: {each}"
            if not parts.scheme:
                assert (path.parent / unquote(parts.path)).is_file(), f"{path.name}: {each}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import\s+(url\()?['\"]?https?:", style.read_text()), style


def test_references_are_whole(pages: dict[Path, Page], site: Path) -> None:
    client = (site / "deploy/docs/client.html").read_text()
    for name in earwitness.client.__all__:
        assert f'id="earwitness.client.{name}"' in client, name
    for module, page in ((explainer_pb2, "explainer"), (scorer_pb2, "scorer")):
        described = module.DESCRIPTOR
        anchors = pages[site / f"deploy/docs/{page}.html"].anchors
        package = described.package.replace(".", "-")
        for message in described.message_types_by_name:
            assert f"{package}-{message.lower()}" in anchors, message
        text = (site / f"deploy/docs/{page}.html").read_text()
        for service in described.services_by_name.values():
            assert all(f">{method.name}<" in text for method in service.methods)


@pytest.mark.parametrize("link", ["deploy/nothing.md", "#nothing", "nothing.png"])
def test_a_link_that_leads_nowhere_ends_the_build(link: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/README.md").write_text(f"# Title\n\n{'!' if link.endswith('png') else ''}[words]({link})\n")
    done = subprocess.run(
        [*SPHINX, "-D", "root_doc=README", tmp_path / "source", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert any("README.md:3" in line and link.strip("#") in line for line in done.stderr.splitlines()), done.stderr


def test_the_picture_is_a_browsers_and_small(tmp_path: Path) -> None:
    spec = spec_from_file_location("picture", ROOT / "deploy/docs/picture.py")
    assert spec is not None
    assert spec.loader is not None
    picture = module_from_spec(spec)
    spec.loader.exec_module(picture)
    write_run(example(3), tmp_path / "run")
    picture.photograph(tmp_path / "run/index.html", tmp_path / "page.png")
    (link,) = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    for file in (tmp_path / "page.png", ROOT / link):
        image = np.asarray(matplotlib.image.imread(file))
        assert image.shape[:2] == (picture.HEIGHT, picture.WIDTH)
        assert image.std() > 0.02
        assert file.stat().st_size <= picture.MAX_BYTES
