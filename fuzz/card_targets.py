"""Cards and reports of runs whose files hold what nobody expects.

What is rendered has to have a header that YAML reads, and no markup but the templates' own: no raw HTML, no link and no
picture that a name brought in.
"""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from fuzz.case import Finding, Target, json_seeds, written


def card(data: bytes, folder: Path) -> object:
    """The model card of a run: the bytes are a JSON object of its three files."""
    from modeling_cde.cards.model_card import write_model_card

    files = _files(data)
    for name in ("config", "metrics", "geometry"):
        if name in files:
            (folder / f"{name}.json").write_text(json.dumps(files[name]), encoding="utf-8")
    path = write_model_card(folder, name=_text(files.get("name")), dataset=_text(files.get("dataset")))
    check_markdown(path.read_text(encoding="utf-8"))
    return path


def page(data: bytes, folder: Path) -> object:
    """An HTML page out of sections, as every report is made."""
    from modeling_cde.analysis.page import Section, Table, render_page

    found = _files(data)
    sections = [
        Section(
            title=str(section.get("title")),
            text=[str(text) for text in _list(section.get("text"))],
            tables=[Table(["a", "b"], [["x", _cell(cell)] for cell in _list(section.get("cells"))], "table")],
            code=[str(text) for text in _list(section.get("code"))],
            notes=[str(text) for text in _list(section.get("notes"))],
        )
        for section in _list(found.get("sections"))
        if isinstance(section, dict)
    ]
    html = render_page(str(found.get("title")), sections, str(found.get("summary")), str(found.get("footer")))
    _Strict().feed(html)
    return html


def dataset_card(data: bytes, folder: Path) -> object:
    """Title, licence and the other texts of a data set's card, and its header."""
    from modeling_cde.data.building.card import DatasetCard, render_readme
    from modeling_cde.data.splits import SplitManifest

    told = _files(data)
    unused = {str(key): ["a"] for key in _list(told.get("unused"))}
    manifest = SplitManifest("clean", "comp", 0, {}, "0" * 64, parts={}, held_out={}, unused=unused)
    written(b"", folder / "single_comp" / "SHA256SUMS")
    texts = {name: str(told[name]) for name in ("title", "license") if told.get(name) is not None}
    text = render_readme(folder, {"single_comp": manifest}, DatasetCard(**texts))
    check_markdown(text)
    return text


def check_markdown(text: str) -> None:
    """Raise if a card's header is not a YAML mapping, or its body has markup that the templates lack."""
    import yaml
    from markdown_it import MarkdownIt

    match = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    if match is None or not isinstance(yaml.safe_load(match[1]), dict):
        raise Finding("the card's header is not a YAML mapping")
    stack = list(MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text[match.end() :]))
    while stack:
        token = stack.pop()
        stack += token.children or []
        if token.type in ("html_block", "html_inline"):
            raise Finding(f"the card has raw HTML: {token.content[:100]!r}")
        address = str(token.attrs.get("href" if token.type == "link_open" else "src", ""))
        if address and not re.match(
            r"https://(arxiv\.org|doi\.org|github\.com|huggingface\.co)/|[\w/]+\.png$", address
        ):
            raise Finding(f"the card has a link or picture that a name brought in: {address[:100]!r}")


class _Strict(HTMLParser):
    """Raises for elements and attributes that no report has."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "form", "base", "link"):
            raise Finding(f"the page has <{tag}>")
        for name, value in attrs:
            if name.startswith("on") or (name in ("href", "src") and not str(value).startswith(("#", "data:image/"))):
                raise Finding(f"the page has {name}={str(value)[:80]!r}")


def _files(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("the case is not JSON.") from error
    if not isinstance(found, dict):
        raise ValueError("the case is not a JSON object.")
    return found


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (int, float)) else str(value)


def _runs() -> Mapping[str, bytes]:
    figures = {"accuracy": 0.5, "macro_accuracy": 0.25, "n": 7, "opposite_error_share": None}
    by = {"accuracy_by_action": {"open": 0.125}, "accuracy_by_object": {"box": 0.3}, "never_predicted": ["close"]}
    arguments = {"seed": 3, "image_size": 48, "data": None, "view": "multi", "backbone": "org/vit", "method": "cde"}
    arguments |= {"top_k_patches": 2, "rooms_pairs": 12, "contrastive_weight": 0.25, "temperature": 0.3}
    training = {"command": "accelerate launch train.py --seed 3", "data": "data/rooms", "minutes": 1.5}
    training |= {"pairs": {"train": 9}, "pairs_used_twice": {"test_syst": 2}, "arguments": arguments}
    training |= {"selected": {"step": 40, "epoch": 4.0, "criterion": "loss"}}
    config = {"model_type": "cde", "id2label": {"0": "open", "1": "close"}, "backbone_config": {"model_type": "vit"}}
    metrics = {
        "splits": {"validation": figures, "test": figures, "test_syst": figures | by},
        "gap": {"test_syst": 0.6},
        "environment": {"device": "CPU", "cores": 2, "torch": "2", "transformers": "5"},
        "training": training,
        "train": {"accuracy": 0.9},
    }
    of_folder = metrics | {"training": training | {"data": "data/mine", "arguments": arguments | {"data": "data/mine"}}}
    patches = {"config": config | {"delta_mode": "patch", "top_k_patches": 2}, "metrics": of_folder, "name": "x"}
    rooms = {"config": config, "metrics": metrics}
    return json_seeds(rooms=rooms, patches=patches)


def _pages() -> Mapping[str, bytes]:
    section = {"title": "One", "text": ["a"], "cells": [1, 0.5, None, "x"], "code": ["b"], "notes": ["c"]}
    return json_seeds(page={"title": "T", "summary": "s", "footer": "f", "sections": [section]})


_CARD = {"title": "Pairs", "license": "cc-by-4.0", "unused": ["no box"]}
_MARKDOWN = tuple(rb"<script> \n---\n \n\n<b> ](javascript:x) ![x](http://a) ` ``` | &lt; {{".split())
TARGETS = (
    Target("card", card, (ValueError, OSError), _runs, _MARKDOWN, 2.0),
    Target("page", page, (ValueError,), _pages, _MARKDOWN, 1.0),
    Target("dataset_card", dataset_card, (ValueError,), lambda: json_seeds(card=_CARD), _MARKDOWN, 1.0),
)
