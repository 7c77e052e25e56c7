"""Takes the picture of the demo that README shows: the first example, run.

python -m tests.space.screenshot --model runs/patch --output docs/images/space.png [--width 400] [--dark]
"""

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from tests.space.browser import browser

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "space"))


def main() -> None:
    """Command line: see the module's docstring."""
    from app import build, launch
    from checkpoint import Checkpoint

    parser = argparse.ArgumentParser(prog="python -m tests.space.screenshot", description=__doc__)
    parser.add_argument("--model", required=True, help="folder or repository of a checkpoint")
    parser.add_argument("--output", required=True, help="name of the picture, ending in .png")
    parser.add_argument("--width", type=int, default=1280, help="of the window, in pixels")
    parser.add_argument("--dark", action="store_true", help="in dark")
    options = parser.parse_args()
    page = build(Checkpoint.load(options.model))
    address = launch(page, prevent_thread_lock=True, quiet=True)[1]
    with browser() as chromium:
        window = chromium.new_page(viewport={"width": options.width, "height": 900})
        window.goto(f"{address}?__theme={'dark' if options.dark else 'light'}")
        window.get_by_role("gridcell", name="Example 1").first.click()
        window.locator("#nearest .cde").wait_for()
        window.wait_for_load_state("networkidle")
        window.wait_for_timeout(500)  # bars grow, pictures fade in
        taken = Image.open(io.BytesIO(window.screenshot(full_page=True)))
    page.close()
    # 256 colours are a quarter of the bytes; chosen so, no colour of the page moves by more than one can see.
    small = taken.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    small.save(options.output, optimize=True)
    print(f"{options.output}: {taken.width} x {taken.height}, {Path(options.output).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
