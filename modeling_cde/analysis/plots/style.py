"""The look of every picture: colours, marks, type and sizes, and the two files that it is written to.

Sizes are for a page 800 px wide, where the text of a figure 8 inches wide has 11 points, 15 px. The PNG has twice as
many pixels. PNG and SVG are the same bytes whenever they are drawn from the same numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...whole_files import write_whole
from ..extra import analysis_extra

#: Six hues, each dark and light: opposite actions share a hue. Chosen so that all twelve can be distinguished: with
#: normal vision and with full protanopia, deuteranopia and tritanopia (simulated as by Machado, Oliveira and Fernandes
#: 2009) the closest two are at least 19 apart in CIELAB, more than the first six of Okabe and Ito's palette.
HUES: tuple[tuple[str, str], ...] = (
    ("#063fa2", "#19a0ff"),
    ("#762109", "#dc721b"),
    ("#05705d", "#77e695"),
    ("#711265", "#f8bafe"),
    ("#201e19", "#9fa2a9"),
    ("#987a43", "#c5dc1d"),
)
#: For lines and bars, strongest first.
LINES: tuple[str, ...] = ("#063fa2", "#dc721b", "#05705d", "#711265", "#19a0ff", "#987a43", "#201e19", "#9fa2a9")
#: For everything without a colour of its own.
OTHER = "#e3e3e3"
#: Marks of scatter plots and lines, distinguished by their outline.
MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")

#: -1 to 1: purple, white, brown; both ends are equally dark, so that a grey print shows the size of a value.
DIVERGING = "PuOr_r"
#: 0 to 1: white to blue.
SEQUENTIAL = "Blues"
#: 0 to 1 where it is an error: white to brown.
ERRORS = "Oranges"

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same on every machine
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "axes.grid": False,
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "savefig.dpi": 200,
    "svg.hashsalt": "modeling_cde",  # equal numbers, equal bytes
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a dollar in a name is a dollar
}


@contextmanager
def drawing(width: float = 8.0, height: float = 4.5) -> Iterator[Any]:
    """A new, empty `matplotlib.figure.Figure` to draw on and save inside the `with`.

    It needs no display and changes nothing global, because figures do not go through pyplot.

    Args:
        width: in inches; 8 fills a page of 800 px.
        height: in inches.

    Raises:
        ModuleNotFoundError: if Matplotlib is not installed.
    """
    with analysis_extra():
        import matplotlib
        from matplotlib.figure import Figure
    with matplotlib.rc_context(_RC):
        yield Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, folder: str | Path, name: str) -> Path:
    """Write a figure as `<folder>/<name>.png` and `<folder>/<name>.svg`.

    Args:
        figure: a Matplotlib figure.
        folder: made if absent.
        name: name of the two files, without an ending; slashes become underscores.

    Returns:
        The path of the PNG; the SVG lies beside it.
    """
    import matplotlib

    target, name = Path(folder), name.replace("/", "_")
    with matplotlib.rc_context(_RC):
        with write_whole(target / f"{name}.svg") as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        with write_whole(target / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png")
    return target / f"{name}.png"


def tidy(axes: Any, grid: str | None = "both") -> None:
    """Remove the top and right of the frame and draw a faint grid.

    Args:
        axes: Matplotlib axes.
        grid: "x", "y" or "both"; None for no grid.
    """
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(axis=grid)


def action_colours(actions: Sequence[str], opposites: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for each action; opposite actions get the dark and the light of one hue.

    Args:
        actions: names, the most important first.
        opposites: action -> its opposite; actions without one are absent.

    Returns:
        Action -> colour, in the order of `actions`. There are twelve; further actions get `OTHER`, a pale grey.
    """
    partner = opposites or {}
    hues = list(HUES)
    colours: dict[str, str] = {}
    for action in actions:
        opposite = partner.get(action)
        if action not in colours and opposite in actions and opposite != action and hues:
            colours[action], colours[str(opposite)] = hues.pop(0)
    left = [dark for dark, _ in hues] + [light for _, light in hues]
    for action in actions:
        if action not in colours:
            colours[action] = left.pop(0) if left else OTHER
    return {action: colours[action] for action in actions}


def paired_order(actions: Sequence[str], opposites: Mapping[str, str] | None = None) -> list[str]:
    """The actions with opposites side by side; those without an opposite come last."""
    partner = opposites or {}
    ordered: list[str] = []
    for action in actions:
        opposite = partner.get(action)
        if action not in ordered and opposite in actions and opposite != action and opposite not in ordered:
            ordered += [action, str(opposite)]
    return ordered + [action for action in actions if action not in ordered]
