"""Hooks of the documentation's site: what a link from a page leads to in the repository is a page of the site, too.

README is the site's first page. Other files of the repository that a page links to are shown below `repository/`:
Markdown as it reads, code as code, a folder as a list of its files. Notebooks become pages. So the pages in `docs/`
read the same on GitHub and on the site, which needs no address of the repository.
"""

from __future__ import annotations

import ast
import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

ROOT = Path(__file__).parents[1]
FIRST = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "model_cards")
PICTURES = (".png", ".jpg", ".jpeg", ".svg", ".gif", ".webp")

_LINK = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")
_FENCED = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the notebooks, and every file of the repository that a page leads to."""
    for notebook in sorted((ROOT / "docs").rglob("*.ipynb")):
        place = place_of(str(notebook.relative_to(ROOT)))
        files.append(File.generated(config, place, content=notebook_page(notebook)))
    waiting = list(FIRST)
    for file in files.documentation_pages():
        waiting += targets_of(file.content_string, f"docs/{file.src_uri}")
    shown: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in shown or path.startswith("docs/"):
            continue
        shown.add(path)
        if path.endswith(PICTURES):
            files.append(File.generated(config, place_of(path), content=(ROOT / path).read_bytes()))
            continue
        text, source = page_of(path)
        waiting += targets_of(text, source)
        files.append(File.generated(config, place_of(path), content=linked(text, source, place_of(path))))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead the links of the pages in `docs/` to the site's own pages."""
    if page.file.generated_by and page.file.src_uri.partition("/")[0] in ("index.md", "repository"):
        return markdown
    return linked(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)


def place_of(path: str) -> str:
    """The page of the site that shows a file or folder of the repository."""
    if path.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        return f"repository/{path}/index.md"
    return f"repository/{path}" if path.endswith((".md", *PICTURES)) else f"repository/{path}.md"


def linked(text: str, source: str, place: str) -> str:
    """A page's text with each link to a file of the repository led to the page of the site that shows it.

    Args:
        text: Markdown.
        source: The file that the links are relative to, as a path in the repository.
        place: The page of the site.
    """

    def lead(match: re.Match[str]) -> str:
        path, _, heading = match[1].partition("#")
        found = _target(match[1], source)
        if found is None:
            return match[1]
        there = posixpath.relpath(place_of(found), posixpath.dirname(place) or ".")
        return there + (f"#{heading}" if heading else "")

    return _outside_code(text, lambda part: _LINK.sub(lead, part))


def targets_of(text: str, source: str) -> list[str]:
    """The files and folders of the repository that a page links to."""
    found: list[str] = []

    def note(part: str) -> str:
        found.extend(path for link in _LINK.findall(part) if (path := _target(link, source)))
        return part

    _outside_code(text, note)
    return found


def page_of(path: str) -> tuple[str, str]:
    """Markdown that shows a file or folder of the repository, and the file that its links are relative to."""
    file = ROOT / path
    if file.is_dir() and (file / "README.md").is_file():
        path, file = f"{path}/README.md", file / "README.md"
    if file.is_dir():
        names = sorted(one.name for one in file.iterdir() if not one.name.startswith((".", "_")))
        lines = [f"- `{name}`{_first_line(file / name)}" for name in names]
        return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n" + "\n".join(lines), path
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md") and "{%" not in text:
        return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL), path  # a card's header is for the Hub
    try:
        lexer = get_lexer_for_filename(file.name)
    except ClassNotFound:
        lexer = TextLexer()
    # HTML, because Markdown would first look for links and comments in the code.
    shown = highlight(text, lexer, HtmlFormatter(cssclass="highlight", wrapcode=True))
    return f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n{shown}", path


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its text, its code, and the text and pictures that it keeps as output."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        said, pictures = "", []
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            kind = next((kind for kind in data if kind.startswith("image/")), None)
            if kind:
                source = f"data:{kind};base64," + "".join(data[kind]).replace("\n", "")
                pictures.append(f'<img alt="What the code above shows" src="{source}">')
            else:
                said += "".join(data["text/plain"])
        parts += [f"```text\n{said.rstrip()}\n```"] if said else []
        parts += pictures
    parts.insert(1, f"In a checkout: `jupyter lab {path.relative_to(ROOT)}`")
    return "\n\n".join(parts) + "\n"


def _first_line(file: Path) -> str:
    module = file / "__init__.py" if file.is_dir() else file
    if module.suffix != ".py" or not module.is_file():
        return ""
    said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    return f": {said.splitlines()[0]}" if said else ""


def _target(link: str, source: str) -> str | None:
    """The file or folder of the repository that a link leads to; None for another host, a heading, or nothing."""
    path = link.partition("#")[0]
    if not path or "://" in link or link.startswith(("mailto:", "data:")):
        return None
    base = source if (ROOT / source).is_dir() else os.path.dirname(source)
    found = posixpath.normpath(posixpath.join(base, path))
    return found if not found.startswith("..") and (ROOT / found).exists() else None


def _outside_code(text: str, change: Any) -> str:
    """Text of which `change` has been applied to all but code."""
    parts, end = [], 0
    for code in _FENCED.finditer(text):
        parts += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(text[end:])])
