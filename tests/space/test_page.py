"""The demo as a person meets it: in a real browser."""

import os
import threading

import pytest

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from tests.space.browser import CHROMIUM, browser, choose
from tests.space.tiny_checkpoints import draw_pair, save_sure_model, train_rows

pytestmark = pytest.mark.skipif(
    not os.path.exists(CHROMIUM), reason=f"There is no Chromium at {CHROMIUM} (Debian's package chromium has it)."
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return draw_pair(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def address(tmp_path_factory, pictures):
    """Where the app serves a patch-wise checkpoint that says "open" of the pictures."""
    from app import build, launch
    from checkpoint import Checkpoint

    root = tmp_path_factory.mktemp("demo")
    folder = save_sure_model(root / "patch", train_rows(root / "data"), pictures)
    page = build(Checkpoint.load(str(folder)))
    yield launch(page, prevent_thread_lock=True, quiet=True)[1]
    page.close()


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def page(chromium, address):
    """The app in a new window, which asks nobody but the app for anything."""
    window = chromium.new_page(viewport={"width": 1280, "height": 900})
    asked, errors = [], []
    window.on("request", lambda request: asked.append(request.url))
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.goto(address)
    window.locator("#run").wait_for()
    yield window
    window.close()
    foreign = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert len(asked) > 5 and not foreign and not errors


def action(page):
    return page.locator("#action h2")


def test_a_model_that_weighs_patches_shows_a_heat_map(chromium, tmp_path, pictures):
    from app import build, launch
    from checkpoint import Checkpoint
    from playwright.sync_api import expect

    folder = save_sure_model(tmp_path / "change", train_rows(tmp_path / "data"), pictures, "change")
    served = build(Checkpoint.load(str(folder)))
    window = chromium.new_page(viewport={"width": 1280, "height": 900})
    window.goto(launch(served, prevent_thread_lock=True, quiet=True)[1])
    choose(window, "before", pictures[0])
    choose(window, "after", pictures[1])
    window.get_by_role("button", name="Run").click()
    for name in ("before", "after"):
        expect(window.get_by_role("img", name=f"The picture {name} under a heat map")).to_be_visible()
    expect(window.get_by_text("Weights of the patches")).to_be_visible()
    window.close()
    served.close()


def test_the_scale_of_a_heat_map_keeps_its_colours_on_a_phone(chromium, pictures):
    from drawing import STYLE, heat_maps
    from PIL import Image

    before, after = (Image.open(file) for file in pictures)
    box = (0, 0, before.width - 1, before.height - 1)
    window = chromium.new_page(viewport={"width": 400, "height": 900})
    window.set_content(f"<style>{STYLE}</style>{heat_maps(before, after, [[0.5, 0.5]], (box, box))}")
    scale, labels = window.locator(".cde-scale i").bounding_box(), window.locator(".cde-scale span")
    assert scale["width"] > 300 and labels.first.bounding_box()["y"] >= scale["y"] + scale["height"]
    window.close()


def test_upload_run_and_swap_shows_the_opposite(page, pictures):
    from playwright.sync_api import expect

    assert "keeps the 4 patches" in page.locator("#loaded").inner_text()
    choose(page, "before", pictures[0])
    choose(page, "after", pictures[1])
    page.get_by_role("button", name="Run").click()
    expect(action(page)).to_have_text("open")
    expect(page.get_by_role("img", name="The picture before with 4 selected patches")).to_be_visible()
    expect(page.get_by_role("img", name="The picture after with 4 selected patches")).to_be_visible()
    bars = page.get_by_role("table", name="Cosine of the delta to the mean delta of each action")
    expect(bars.get_by_role("row")).to_have_count(4)
    expect(page.locator("#nearest figure")).to_have_count(6)
    first = [row.inner_text().split() for row in bars.get_by_role("row").all()]
    page.get_by_role("button", name="Swap").click()
    expect(action(page)).to_have_text("close")
    expect(bars.get_by_role("row").first.get_by_role("rowheader")).to_have_text(first[-1][0])
    turned = [row.inner_text().split() for row in bars.get_by_role("row").all()]
    assert [(name, float(value)) for name, value in turned] == [(name, -float(value)) for name, value in first[::-1]]


def test_wrong_files_are_answered_in_a_sentence(page, pictures, tmp_path):
    from playwright.sync_api import expect

    alert = page.get_by_role("alert")
    page.get_by_role("button", name="Run").click()
    expect(alert.filter(has_text="The picture before and the picture after are missing")).to_be_visible()
    (tmp_path / "text.png").write_text("this is no picture")
    choose(page, "before", pictures[0])
    choose(page, "after", tmp_path / "text.png")
    page.get_by_role("button", name="Run").click()
    expect(alert.filter(has_text="The picture after cannot be read as an image")).to_be_visible()
    page.get_by_role("button", name="Swap").click()
    expect(alert.filter(has_text="The picture before cannot be read as an image")).to_be_visible()
    assert "Traceback" not in page.content()
    expect(action(page)).to_have_count(0)


def test_an_example_runs_at_a_click_and_results_go_with_their_picture(page):
    from playwright.sync_api import expect

    page.get_by_role("gridcell", name="Example 1 open book, before").click()
    expect(action(page)).not_to_be_empty()
    expect(page.locator("#bars table")).to_be_visible()
    page.get_by_role("group", name="Picture after").get_by_role("button", name="Remove Image").click()
    expect(page.locator("#bars table")).to_have_count(0)
    expect(action(page)).to_have_count(0)


def test_an_answer_is_not_shown_beside_other_pictures_than_its_own(page, pictures, monkeypatch):
    """However slow the model is, and whatever a person does meanwhile."""
    from checkpoint import Checkpoint
    from playwright.sync_api import expect

    read, asked, may_go = Checkpoint.read, threading.Semaphore(0), threading.Semaphore(0)

    def slow(self, before, after, box=None):
        asked.release()
        assert may_go.acquire(timeout=20)
        return read(self, before, after)

    monkeypatch.setattr(Checkpoint, "read", slow)
    choose(page, "before", pictures[0])
    choose(page, "after", pictures[1])
    page.get_by_role("button", name="Run").click()
    assert asked.acquire(timeout=20)
    page.get_by_role("button", name="Swap").click()
    may_go.release(2)
    assert asked.acquire(timeout=20)
    expect(action(page)).to_have_text("close")
    page.get_by_role("button", name="Run").click()
    assert asked.acquire(timeout=20)
    page.get_by_role("group", name="Picture after").get_by_role("button", name="Remove Image").click()
    expect(action(page)).to_have_count(0)
    may_go.release()
    page.wait_for_timeout(700)  # in which the answer would come
    expect(action(page)).to_have_count(0)
    expect(page.locator("#bars table")).to_have_count(0)
