"""A headless Chromium, driven by Playwright, that looks at a page served by this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


@contextmanager
def browser() -> Iterator[Any]:
    """A started Chromium, as root or not, without a sandbox: it sees no page but ours."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


def choose(page: Any, name: str, file: Any) -> None:
    """Uploads a file as the picture `before` or `after` and waits until the page has it."""
    page.locator(f"#{name} input[type=file]").set_input_files(str(file))
    page.locator(f"#{name} img").wait_for(state="attached")
