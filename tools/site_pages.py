"""Pages of the site that are not kept under docs/: mkdocs calls the functions named ``on_``.

They come from where their content is at home: the folders' own pages, the command line's help, the
table of environment variables, and the committed rows and findings. Links between all of them are
those that the repository has; they are led to the site's pages here.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
RESULTS = "results/h200"
# Pages of the repository that are not under docs/, and where the site has them.
TAKEN = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "python/attnproto/compiler/README.md": "passes.md",
    "cpp/metal/README.md": "metal-device.md",
    "rust/README.md": "rust.md",
    f"{RESULTS}/README.md": "results/h200.md",
    **{
        f"metal/{family.parent.name}/README.md": f"kernels/{family.parent.name}.md"
        for family in sorted(ROOT.glob("metal/*/README.md"))
    },
}
ORIGINS = {page: origin for origin, page in TAKEN.items()}

_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^( *)(```+)(\w*)[^\n`]*\n(.*?)^\1\2", re.M | re.S)
# A list may follow a paragraph at once; this Markdown wants an empty line between.
_LIST = re.compile(r"^((?![ \t]*(?:[-*]|\d+\.) |[|#>]|$)[^\n]+)\n(?=(?:[-*]|\d+\.) )", re.M)
_ROLE = re.compile(r":(?:class|func|meth|attr|mod|exc|data):(?=<code)")
# What a browser would get from elsewhere without being asked by its reader.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))[^>]*"
    r"\bhref=[\"']?(?:https?:)?//"
    r"|@import\s+(?:url\()?[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//",
    re.I,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    from mkdocs.structure.files import File

    for name, content in made_pages():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to the site's pages, and write what this Markdown reads otherwise."""
    return site_text(markdown, page.file.src_uri)


def on_page_content(html: str, **_: Any) -> str:
    """Drop the roles that docstrings give to names: the site shows these as code."""
    return _ROLE.sub("", html)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that fetches anything from elsewhere.

    Raises:
        PluginError: A page or a style sheet does.
    """
    from mkdocs.exceptions import PluginError

    fetched = fetched_from_elsewhere(Path(config.site_dir))
    if fetched:
        raise PluginError(f"[site] found {fetched[0]}, needs a site that fetches nothing")


def made_pages() -> Iterator[tuple[str, str]]:
    """Each page that is made, and each chart: its name on the site and its text."""
    for origin, page in TAKEN.items():
        yield page, (ROOT / origin).read_text(encoding="utf-8")
    yield "reference/command-line.md", command_line()
    yield "reference/environment.md", environment()
    yield from prototype_pages()


def site_text(markdown: str, page: str) -> str:
    """Change a page's text for the site.

    Args:
        markdown: As the repository has it.
        page: Its name on the site.
    """
    origin = ORIGINS.get(page, f"docs/{page}")
    parts, at = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_prose(markdown[at : fence.start()], origin, page), _fenced(fence)]
        at = fence.end()
    return "".join([*parts, _prose(markdown[at:], origin, page)])


def _fenced(fence: re.Match[str]) -> str:
    # A block's file or stage is for the tests; MSL is coloured as the C++ that it is.
    indent, marks, language, text = fence.groups()
    return f"{indent}{marks}{'cpp' if language == 'metal' else language}\n{text}{indent}{marks}"


def _prose(text: str, origin: str, page: str) -> str:
    def led(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        on_site = TAKEN.get(path) or TAKEN.get(f"{path}/README.md")
        if on_site is None and path.startswith("docs/"):
            on_site = path.removeprefix("docs/")
        if on_site is None:  # a file of the repository that is no page
            return f"`{path}`" if words.strip("/") in path else f"{words} (`{path}`)"
        return f"[{words}]({os.path.relpath(on_site, posixpath.dirname(page) or '.')}{anchor})"

    text = _LINK.sub(led, text).replace("](docs/", "](")
    return _LIST.sub(r"\1\n\n", text)


def command_line() -> str:
    """The reference of the command line: what ``--help`` says of each subcommand."""
    from attnproto.cli import app

    # As typed in a shell, whichever program asks.
    with mock.patch.object(sys, "argv", ["attnproto"]):
        text = app.generate_docs("markdown")
    text = re.sub(r"^## Table of Contents\n.*?(?=^\*\*Commands)", "", text, flags=re.M | re.S)
    return text.replace("# attnproto\n", "# Command line\n", 1)


def environment() -> str:
    """The reference of environment variables: the table that the code reads."""
    from attnproto.settings import SETTINGS

    lines = [f"| `{one.name}` | {one.meaning} | {one.default} |" for one in SETTINGS]
    head = (
        "# Environment variables",
        "",
        "| variable | means | where it is unset |",
        "|---|---|---|",
    )
    return "\n".join([*head, *lines, ""])


def prototype_pages() -> Iterator[tuple[str, str]]:
    """A page a prototype, and its charts, from the committed rows and findings."""
    import importlib

    from attnproto.prototypes.registry import REGISTRY
    from attnproto.report.charts import draw_charts
    from attnproto.results.findings import read_findings
    from attnproto.results.store import latest_rows

    rows = latest_rows(ROOT / RESULTS)
    findings = read_findings(ROOT / RESULTS / "findings.jsonl")
    for line in REGISTRY:
        own = [row for row in rows if row["proto"] == line.name]
        module = importlib.import_module(f"attnproto.prototypes.{line.name}.prototype")
        charts = draw_charts(own)
        of_it = [finding for finding in findings if finding.proto == line.name]
        text = _prototype_page(line, module.__doc__ or "", own, of_it, charts)
        yield f"prototypes/{line.name}.md", text
        for i, chart in enumerate(charts):
            # A picture by itself: its marks' links to rows of a report lead nowhere here.
            drawing = re.sub(r"</?a\b[^>]*>", "", chart["svg"])
            yield f"prototypes/{line.name}-{i}.svg", drawing


def _prototype_page(line: Any, doc: str, rows: list, findings: list, charts: list) -> str:
    from attnproto.report.markdown import code, escaped
    from attnproto.report.report import TIERS
    from attnproto.results.confidence import confidence_word
    from attnproto.results.findings import current_findings

    head, _, body = doc.strip().partition("\n")
    method = f"{head.partition(': ')[2].strip().capitalize()}\n{body}"
    devices = sorted({row["device"]["name"] for row in rows})
    statuses = Counter(row["status"] for row in rows)
    counted = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    text = [
        f"# {line.name}", "", f"*{line.question}*", "",
        "## Method", "", method.strip(), "",
        f"{len(rows)} points on {', '.join(devices)}: {counted}. Nothing was timed on an Apple GPU "
        f"yet. Run it: `attnproto run --only {line.name}`.", "",
        "## What was found",
    ]  # fmt: skip
    current = current_findings(findings)
    for tier, meaning in TIERS.items():
        members = [one for one in current if one.tier == tier]
        if members:
            text += ["", f"### {tier.capitalize()}", "", f"Tier {tier}: {meaning}.", ""]
        for one in members:
            said, _, _ = one.content.partition(" Compared: ")
            text += [
                f'??? note "{one.title.replace(chr(34), chr(39))}"',
                f"    {escaped(said)}",
                "",
                f"    Regime: {escaped(one.evidence.regime)}. Overturned by: "
                f"{escaped(one.evidence.overturned_by)}. Confidence {one.confidence:g} "
                f"({confidence_word(one.confidence)}), {one.device.name}.",
                "",
                f"    Repeat: {code(one.replay)}",
                "",
            ]
    if charts:
        text += ["", "## Charts"]
    for i, chart in enumerate(charts):
        text += ["", f"### {chart['title']}", "", chart["note"], "",
                 f"![{chart['title']}]({line.name}-{i}.svg){{ .chart }}"]  # fmt: skip
    return "\n".join([*text, ""])


def fetched_from_elsewhere(site: Path) -> list[str]:
    """Each page and style sheet of a built site that fetches from a network, and what of it."""
    fetching = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]):
        hit = _FETCHED.search(path.read_text(encoding="utf-8"))
        if hit:
            fetching.append(f"{path.relative_to(site)}: {hit[0][:100]}")
    return fetching
