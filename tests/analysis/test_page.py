"""A page holds all that it shows, takes no text for markup, and can be read without eyes or mouse."""

import base64
import os
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cde.analysis.page import Picture, Section, Table, anchor, as_data_uri, render_page, written
from tests.space.browser import CHROMIUM, browser

DOT = "data:image/png;base64,iVBORw0KGgo="


class Reader(HTMLParser):
    """Collects the elements of a page with their attributes and texts."""

    VOID = {"meta", "img", "br"}

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(page)
        assert not self.open, "an element is left open"

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, "text": "", **dict(attributes)}
        self.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag, "elements are closed in the wrong order"

    def handle_data(self, data):
        if self.open:
            self.open[-1]["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def texts(self, tag):
        return [element["text"] for element in self.all(tag)]


SECTIONS = [
    Section(
        "Accuracy", ["First paragraph.", "Second."], [Table(["split", "n", "accuracy"], [["test", 12, 0.5]], "All")]
    ),
    Section("A map", pictures=[Picture(DOT, "points in two groups", "Two groups.")], notes=["by PCA"], level=3),
    Section("Made by", code=["command one", "command two"]),
]


def test_everything_given_is_on_the_page_once_and_in_order():
    reader = Reader(render_page("A run", SECTIONS, "In short.", "the end"))
    assert reader.texts("title") == reader.texts("h1") == ["A run"]
    assert reader.texts("h2") == ["Accuracy", "Made by"] and reader.texts("h3") == ["A map"]
    assert reader.texts("p") == ["In short.", "First paragraph.", "Second."]
    assert reader.texts("caption") == ["All"]
    assert [cell["text"] for cell in reader.elements if cell["tag"] in ("th", "td")] == [
        "split", "n", "accuracy", "test", "12", "0.500",
    ]  # fmt: skip
    assert reader.texts("figcaption") == ["Two groups."]
    assert reader.texts("code") == ["command one\ncommand two"]
    assert reader.texts("footer") == ["the end"]


def test_a_page_loads_nothing_and_runs_nothing():
    reader = Reader(render_page("A run", SECTIONS))
    assert {element["tag"] for element in reader.elements}.isdisjoint({"script", "link", "iframe", "object", "base"})
    sources = [value for element in reader.elements for key, value in element.items() if key in ("src", "href")]
    assert sources and all(source.startswith(("data:image/", "#")) for source in sources)
    policy = [meta["content"] for meta in reader.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert "url(" not in "".join(reader.texts("style")) and "@import" not in "".join(reader.texts("style"))


def test_keyboard_and_screen_reader_find_their_way():
    reader = Reader(render_page("A run", SECTIONS))
    assert reader.all("html")[0]["lang"] == "en" and len(reader.all("main")) == 1
    names = {element["id"] for element in reader.elements if "id" in element}
    assert all(link["href"][1:] in names for link in reader.all("a"))
    assert [link["href"] for link in reader.all("a")[1:]] == ["#accuracy", "#made-by"]
    assert [picture["alt"] for picture in reader.all("img")] == ["points in two groups"]
    assert [header["scope"] for header in reader.all("th")] == ["col", "col", "col", "row"]
    scrolling = [element for element in reader.elements if element.get("class") == "wide"]
    assert len(scrolling) == 2 and all(element["tabindex"] == "0" and element["aria-label"] for element in scrolling)


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_text_is_never_taken_for_markup(text):
    hostile = f"<script>alert('{text}')</script>&amp;\"{text}"
    sections = [
        Section(
            f"one {hostile}", [hostile], [Table([hostile], [[hostile]], hostile)], [Picture(DOT, hostile, hostile)]
        ),
        Section("two", code=[hostile], notes=[hostile]),
    ]
    reader = Reader(render_page(hostile, sections, hostile, hostile))
    assert not reader.all("script")
    for tag in ("h1", "p", "caption", "td", "figcaption", "code", "footer"):
        assert set(reader.texts(tag)) <= {hostile}
    assert reader.all("img")[0]["alt"] == hostile


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "–"),
        (0.12345, "0.123"),
        (-0.0000001, "0.000"),
        (0.00021, "0.00021"),
        (-1.0, "−1.000"),
        (7, "7"),
        ("<0.01", "<0.01"),
    ],
)
def test_cells_are_written_out(cell, text):
    assert written(cell) == text


def test_anchors_are_plain():
    assert anchor("Deltas: a map (PCA)") == "deltas-a-map-pca" and anchor("δ") == "section"


def test_files_become_data_uris(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    kind, _, data = as_data_uri(tmp_path / "a.png").partition(",")
    assert kind == "data:image/png;base64" and base64.b64decode(data) == b"\x89PNG"
    with pytest.raises(ValueError, match="ends in neither"):
        as_data_uri(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ([Section("A"), Section("a!")], "two sections are called 'a!'"),
        ([Section("A", level=1)], "level 1"),
        ([Section("A", tables=[Table(["x", "y"], [[1]])])], "1 cells under 2 headers"),
        ([Section("A", pictures=[Picture(DOT, " ")])], "no alternative text"),
        ([Section("A", pictures=[Picture("https://example.org/a.png", "x")])], "not a data URI"),
    ],
)
def test_a_broken_page_is_refused(sections, message):
    with pytest.raises(ValueError, match=message):
        render_page("A run", sections)


@pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"There is no Chromium at {CHROMIUM}.")
def test_nothing_that_is_read_is_cut_on_a_phone(tmp_path):
    """A table may be moved sideways in its frame; its caption, and all other text, keeps to the screen."""
    words = "Accuracy in percent, mean and standard deviation over seeds, of the checkpoint of the last epoch. " * 2
    wide = Table([f"a long name of column {i}" for i in range(12)], [[f"cell-{i}" for i in range(12)]], words)
    picture = Picture(DOT, "points", words)
    (tmp_path / "page.html").write_text(render_page("A run", [Section("Accuracy", [words], [wide], [picture])], words))
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 400, "height": 800})
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.querySelector('table').getBoundingClientRect().right") > 400
        for _ in range(2):
            for name in ("caption", "figcaption", "section p", ".summary", "h1"):
                box = page.locator(name).first.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= 400, name
            page.evaluate("document.querySelector('.wide').scrollLeft = 300")
