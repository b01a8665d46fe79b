"""The documentation site: the pages of the repository where they are, and references for the protos and the client.

`make docs` builds it into out/docs, strictly: a broken link, anchor or picture fails the build. Fonts, styles and
scripts are the site's own, so it works without a network.
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

import earwitness

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
from client_page import client_page  # noqa: E402 -- beside this file, which is no package
from proto_pages import proto_page  # noqa: E402

PAGES = ("deploy", "model_repository", "protos", "services", "tests", "README.md", "CHANGELOG.md", "CONTRIBUTING.md")
CONTENTS = """

```{toctree}
:hidden:
:caption: Operating
deploy/README
deploy/security
deploy/helm/earwitness/README
deploy/triton/README
deploy/grafana/README
```

```{toctree}
:hidden:
:caption: Models and evidence
model_repository/README
model_repository/svd_r1
model_repository/svd_r2
model_repository/replay_compact
model_repository/replay_bulbul
deploy/evidence/README
deploy/evidence/CRITERIA
deploy/demo/audio/CREDITS
```

```{toctree}
:hidden:
:caption: Your own
services/earwitness/atlas/README
services/earwitness/training/export/README
services/earwitness/training/corpus/README
services/earwitness/training/corpus/replay/README
services/earwitness/training/replay/README
services/earwitness/features/README
services/earwitness/detection/README
```

```{toctree}
:hidden:
:caption: Reference
deploy/docs/client
protos/README
deploy/docs/explainer
deploy/docs/scorer
deploy/docs/types
```

```{toctree}
:hidden:
:caption: The project
services/earwitness/README
tests/README
CONTRIBUTING
CHANGELOG
```
"""
"""The site's contents, added to README.md by `complete`: in the file itself they would show as text elsewhere."""

project = "earwitness"
author = "the authors of earwitness"
copyright = "Apache-2.0"  # noqa: A001 -- Sphinx's name for it
version = release = earwitness.__version__
root_doc = "README"
source_suffix = {".md": "markdown"}
exclude_patterns = [path.name for path in ROOT.iterdir() if path.name not in PAGES]
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 6  # as GitHub makes them
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "undoc-members": True, "inherited-members": "object,tuple"}
html_theme = "furo"
html_title = f"earwitness {release}"
html_copy_source = False
html_additional_pages = {"index": "index.html"}
templates_path = ["templates"]


def complete(app: Sphinx, page: str, text: list[str]) -> None:
    """The contents below README.md; references in the places of their marks."""
    if page == root_doc:
        text[0] += CONTENTS
    text[0] = re.sub(r"<!-- proto: (\S+) -->", lambda found: proto_page(found[1]), text[0])
    text[0] = re.sub(r"<!-- python: (\S+) -->", lambda found: client_page(found[1]), text[0])


def as_rst(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings are plain text with `code` between single backticks; Sphinx reads reStructuredText."""
    text = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines))
    text = re.sub(r"(?<![\w`])\*(?=\S)|(?<=\w)_(?=[\s,.;:)]|$)", r"\\\g<0>", text)
    text = re.sub(r"^(Examples?:)$", r"\1:\n", text, flags=re.MULTILINE)
    lines[:] = re.sub(r"(?<!\n)\n(?=Raises: )", "\n\n", text).split("\n")


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", complete)
    app.connect("autodoc-process-docstring", as_rst)
