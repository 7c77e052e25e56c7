"""Takes examples from a data set: the first test pair of each action, of two opposite actions of the first alone.

    python space/make_examples.py --data data/rooms_classic --output space/examples

So nobody has chosen them by what a model says of them. The pictures are cut as models see them: the target's box with
a margin.
"""

import argparse
from pathlib import Path

from PIL import Image

from modeling_cde.data.load_splits import load_shifts
from modeling_cde.data.schema import OPPOSITES
from modeling_cde.data.transforms import PairTransform
from modeling_cde.whole_files import in_one_sentence

SIDE = 128


def main(arguments: list[str] | None = None) -> None:
    """Command line: see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python space/make_examples.py", description=__doc__)
    parser.add_argument("--data", required=True, help="folder or repository of single-view pairs")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    options = parser.parse_args(arguments)
    rows = load_shifts(options.data, "single", "both")["test"]
    options.output.mkdir(parents=True, exist_ok=True)
    transform = PairTransform((SIDE, SIDE), crop="box")
    actions = rows.features["action"].names
    columns = rows.with_format(None)
    shown = [name for i, name in enumerate(actions) if OPPOSITES.get(name) not in actions[:i]]
    for place, action in enumerate(shown, start=1):
        row = columns["action"][:].index(actions.index(action))
        kind = rows.features["object"].int2str(columns[row]["object"])
        pictures = transform.pictures(rows.with_transform(transform)[row]["pixel_values"]).numpy()  # (2, H, W, 3)
        for picture, name in zip(pictures, ("before", "after"), strict=True):
            file = options.output / f"{place}_{action}_{kind.lower()}_{name}.png"
            Image.fromarray(picture).save(file, optimize=True)
            print(file)


if __name__ == "__main__":
    with in_one_sentence("space/make_examples.py"):
        main()
