"""The documentation builds as a site without a warning, without dead links, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import modeling_cde
import modeling_cde.data
from tests.docs.blocks import ROOT

pytest.importorskip("mkdocs", reason="the extra docs is not installed")

# What a browser fetches without being asked; a link waits for a click.
_LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """The addresses of an HTML page: what it loads, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids.update(filter(None, [found.get("id")]))
        if address := found.get(_LOADED.get(tag, "")):
            self.loaded.append(address)
        if tag == "a" and (address := found.get("href")):
            self.links.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as CONTRIBUTING.md says."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    told = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site."""
    return {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}


def test_a_page_loads_nothing_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    assert len(pages) > 30
    for file, page in pages.items():
        assert not [one for one in page.loaded if urlsplit(one).scheme not in ("", "data") or one.startswith("//")], (
            file
        )
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"@import|url\(\s*[\"']?(https?:)?//", text), sheet


def test_links_and_pictures_lead_to_something_on_the_site(site: Path, pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        if file.name == "404.html":  # its links are from the root of a host
            continue
        for address in (*page.links, *page.loaded):
            parts = urlsplit(address)
            if parts.scheme:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            assert target.is_file() or (target / "index.html").is_file(), f"{file.relative_to(site)}: {address}"
            if parts.fragment and target in pages and parts.fragment != "__skip":
                assert unquote(parts.fragment) in pages[target].ids, f"{file.relative_to(site)}: {address}"


def test_every_public_name_has_its_place_on_an_api_page(site: Path) -> None:
    found = "".join(file.read_text(encoding="utf-8") for file in sorted((site / "api").glob("*.html")))
    shown = {name.rpartition(".")[2] for name in re.findall(r'id="(modeling_cde\.[\w.]+)"', found)}
    assert set(modeling_cde.__all__) <= shown
    assert {"load_pairs", "transform_pairs", "PairTransform", "PairCollator"} <= shown & set(modeling_cde.data.__all__)


def test_what_a_guide_names_of_the_repository_is_a_page_of_the_site(site: Path) -> None:
    """Code as code, a folder as a list, README as the first page, and a notebook with what it keeps as output."""
    code = (site / "repository/modeling_cde/models/methods.py.html").read_text(encoding="utf-8")
    assert "<h1" in code and 'class="highlight"' in code and "METHODS" in code
    listing = (site / "repository/modeling_cde/training/index.html").read_text(encoding="utf-8")
    assert "<code>trainer.py</code>: " in listing
    assert "Learn what an action does" in (site / "index.html").read_text(encoding="utf-8")
    notebook = (site / "notebooks/a_pair_from_nothing.html").read_text(encoding="utf-8")
    assert notebook.count("data:image/") == 3 and "turnoff" in notebook
