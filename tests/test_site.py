"""The site's parts fit together. `make docs` builds it; nothing here needs what builds it."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from pathlib import Path

import attnproto
import pytest

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "mkdocs.yml").read_text()
NAV = re.findall(r"^ +- .*?: (\S+\.md)$", CONFIG.split("\nnav:")[1], re.M)
_CODE = re.compile(r"^( *)```.*?^\1```$", re.M | re.S)
KEPT = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}


def load_site_pages():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "tools" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


site_pages = load_site_pages()


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return dict(site_pages.made_pages())


def test_the_navigation_lists_every_page_once(generated):
    pages = {name for name in generated if name.endswith(".md")}
    assert sorted(NAV) == sorted(KEPT | pages)


def test_every_file_that_a_page_shows_exists():
    named = {}
    for path in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r'^--8<-- "(.+)"$', path.read_text(), re.M):
            named[name] = path.name
    assert "examples/01_first_kernel.py" in named
    assert {name: page for name, page in named.items() if not (ROOT / name).is_file()} == {}


def test_every_link_leads_to_a_page_of_the_site_or_becomes_a_path(generated):
    texts = {name: (ROOT / "docs" / name).read_text() for name in KEPT} | generated
    lost = []
    for page, text in texts.items():
        if page.endswith(".md"):
            for link in re.findall(
                r"\]\((?!https?:|#)([^)\s#]+)", site_pages.site_text(_CODE.sub("", text), page)
            ):
                target = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
                if target not in texts and not (ROOT / "docs" / target).is_file():
                    lost.append(f"{page}: {link}")
    assert lost == []


def test_links_of_the_repository_are_led_to_the_sites_pages():
    passes = "[passes](../python/attnproto/compiler/README.md#host)"
    text = f"See {passes}, [model](model.md), [x](../Makefile)"
    assert site_pages.site_text(text, "architecture.md") == (
        "See [passes](passes.md#host), [model](model.md), x (`Makefile`)"
    )
    text = "[evidence](docs/evidence.md), [examples/](examples), ![head](docs/report.png)"
    assert site_pages.site_text(text, "index.md") == (
        "[evidence](evidence.md), `examples`, ![head](report.png)"
    )


def test_code_is_left_alone_but_for_what_the_tests_put_beside_its_language():
    text = "```metal stage=text\n[a](b.md)\n```\nand\n- one\n"
    assert site_pages.site_text(text, "compiler.md") == "```cpp\n[a](b.md)\n```\nand\n\n- one\n"


def test_the_reference_has_each_public_name_once():
    text = (ROOT / "docs" / "reference" / "python.md").read_text()
    named = re.findall(r"^::: attnproto\.(\w+)$", text, re.M)
    assert sorted(named) == sorted(attnproto.__all__)


def test_a_prototypes_page_says_what_the_committed_findings_say(generated):
    page = generated["prototypes/linear.md"]
    assert page.startswith(
        "# linear\n\n*From which length on does linear attention win over softmax?*"
    )
    assert "on NVIDIA H200" in page
    assert '"Linear attention in chunks of 32 to 256 tokens agrees with the FP64 recurrence' in page
    for name in re.findall(r"\(([\w-]+\.svg)\)", page):
        assert generated[f"prototypes/{name}"].startswith("<svg")
        assert "<a " not in generated[f"prototypes/{name}"]


def test_the_command_line_is_documented_as_it_is_typed(generated):
    page = generated["reference/command-line.md"]
    assert "\nattnproto run [OPTIONS]\n" in page
    assert "Table of Contents" not in page


@pytest.mark.parametrize(
    ("text", "fetches"),
    [
        ('<script src="https://host/x.js"></script>', True),
        ("<link rel=stylesheet href='//host/x.css'>", True),
        ("@import url(https://host/font.css);", True),
        ('<img alt="x" src="//host/x.png">', True),
        ('<script src="assets/x.js"></script><a href="https://host/">there</a>', False),
        ('<link rel="canonical" href="https://host/">', False),
    ],
)
def test_a_page_that_fetches_from_elsewhere_is_seen(tmp_path, text, fetches):
    (tmp_path / "page.html").write_text(text)
    assert bool(site_pages.fetched_from_elsewhere(tmp_path)) == fetches
