"""What was computed as pieces of HTML, readable by eye, by screen reader, in light and in dark."""

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from comparison import Neighbour
from PIL import Image

from modeling_cde.analysis.plots.heat_map import STRONGEST, coloured, with_heat

#: Longer side of a picture in the page, in pixels.
SHOWN = 480

# Gradio puts a prefix before every selector and splits them at each comma, also at one inside of :is().
STYLE = """
#before img, #after img { width: 100%; height: 100%; object-fit: contain; }
#examples thead { display: none; }
#examples table { display: block; border: 0; }
#examples tbody { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 4px;
  height: auto; }
#examples tr { display: flex; background: none; border: 0; padding: 0; margin: 0; }
#examples td { padding: 2px; border: 0; }
#examples td .container { width: 4.2rem; height: 4.2rem; }
#message:not(:has(p)) { display: none; }
.cde { padding-top: 1.5rem; }
.cde p, .cde figcaption { margin: 0.3rem 0 0; font-size: 0.9rem; line-height: 1.35; }
.cde-pair { display: flex; gap: 0.6rem; }
.cde-pair figure { margin: 0; flex: 1; min-width: 0; }
.cde-pair svg { width: 100%; height: auto; display: block; border-radius: 4px; }
.cde-pair rect { fill: none; stroke: #ffd400; stroke-width: 2; vector-effect: non-scaling-stroke; }
.cde-pair img { width: 100%; margin: 0; display: block; border-radius: 4px; }
.cde-scale { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.2rem 0.6rem; font-size: 0.9rem;
  margin-top: 0.5rem; }
.cde-scale i { order: -1; flex: 1 0 100%; height: 0.8rem; border-radius: 3px; }
.cde-veil { fill: #000; fill-opacity: 0.5; fill-rule: evenodd; }
#bars table { border: 0; border-collapse: collapse; width: 100%; margin: 0; font-size: 0.9rem; }
#bars tr { border: 0; padding: 0; }
#bars th { border: 0; padding: 0.15rem 0; font-weight: 400; text-align: left; }
#bars td { border: 0; padding: 0.15rem 0; }
#bars tr.cde-first * { font-weight: 700; }
#bars td:nth-child(2) { width: 100%; padding: 0.15rem 0.6rem; }
#bars td:nth-child(3) { text-align: right; font-variant-numeric: tabular-nums; }
.cde-track { position: relative; height: 1rem; }
.cde-track::before { content: ""; position: absolute; left: 50%; top: -0.2rem; bottom: -0.2rem; width: 1px;
  background: currentColor; opacity: 0.5; }
.cde-track i { position: absolute; top: 1px; bottom: 1px; background: #063fa2; }
.cde-track i.cde-against { background: #c2611a; }
.dark .cde-track i { background: #4db2ff; }
.dark .cde-track i.cde-against { background: #f08b3e; }
.cde-near { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 0.8rem; }
.cde-near figure { margin: 0; max-width: 15rem; }
.cde-near div { display: flex; gap: 3px; }
.cde-near img { width: 50%; min-width: 0; border-radius: 3px; margin: 0; }
.cde-message { border-left: 4px solid #c2611a; padding: 0.5rem 0.8rem; margin: 0; font-size: 1rem; }
"""


def message(text: str | None) -> str:
    """A sentence that a screen reader says at once."""
    return "" if not text else f'<p class="cde-message" role="alert">{escape(text)}</p>'


def patches(before: Image.Image, after: Image.Image, kept: Sequence[Mapping[str, Any]] | None) -> str:
    """Both pictures with the kept patches framed and the rest dimmed.

    Args:
        before, after: The pictures that were given.
        kept: See `Reading.patches`; None: of a model without patches, which is said.
    """
    if kept is None:
        return (
            '<div class="cde"><p>This checkpoint computes one delta for the whole picture, so there are no selected '
            "patches; a patch-wise one shows here where it looked.</p></div>"
        )
    figures = "".join(
        f"<figure>{_framed(picture, name, kept)}<figcaption>{name}</figcaption></figure>"
        for picture, name in ((before, "before"), (after, "after"))
    )
    return (
        f'<div class="cde"><div class="cde-pair">{figures}</div><p>The {len(kept)} patches whose states changed most; '
        "the action is read from them alone.</p></div>"
    )


def _framed(picture: Image.Image, name: str, kept: Sequence[Mapping[str, Any]]) -> str:
    """An SVG in the units of the picture given; boxes are inclusive, so that a box ends one pixel further."""
    width, height = picture.size
    holes, frames = "", ""
    for patch in kept:
        x0, y0, x1, y1 = patch.get("before_box", patch["box"]) if name == "before" else patch["box"]
        across, down = x1 + 1 - x0, y1 + 1 - y0
        holes += f"M{x0} {y0}h{across}v{down}h{-across}z"
        frames += (
            f'<rect x="{x0}" y="{y0}" width="{across}" height="{down}"><title>change {patch["norm"]:.3g}</title></rect>'
        )
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="The picture {name} with {len(kept)} selected '
        f'patches"><image href="{_data_uri(picture)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f'<path class="cde-veil" d="M0 0h{width}v{height}h{-width}z{holes}"/>{frames}</svg>'
    )


def cropped(picture: Image.Image, box: Sequence[int]) -> str:
    """A picture whose box (inclusive) is framed and the rest dimmed."""
    width, height = picture.size
    x0, y0, x1, y1 = box
    hole = f"M{x0} {y0}h{x1 + 1 - x0}v{y1 + 1 - y0}h{x0 - x1 - 1}z"
    return (
        f'<div class="cde"><svg viewBox="0 0 {width} {height}" role="img" aria-label="The crop of the picture before">'
        f'<image href="{_data_uri(picture)}" width="{width}" height="{height}" preserveAspectRatio="none"/>'
        f'<path class="cde-veil" d="M0 0h{width}v{height}h{-width}z{hole}"/></svg></div>'
    )


def heat_maps(
    before: Image.Image, after: Image.Image, weights: Sequence[Sequence[float]], boxes: Sequence[Sequence[int]]
) -> str:
    """Both pictures under the weights of their patches, and the scale.

    Args:
        before, after: The pictures that were given.
        weights, boxes: See `Reading.weights` and `Reading.weights_boxes`.
    """
    rows = np.array(weights)
    row, column = (int(place) for place in np.unravel_index(rows.argmax(), rows.shape))
    most = rows.size * rows.max()
    across, down = 100 * (column + 0.5) / rows.shape[1], 100 * (row + 0.5) / rows.shape[0]
    told = f"most at {across:.0f} % from the left and {down:.0f} % from the top, {most:.1f} times the average"
    told = "the same everywhere" if most < 1.01 else told
    figures = ""
    for picture, name, (x0, y0, x1, y1) in ((before, "before", boxes[0]), (after, "after", boxes[1])):
        small = _small(picture)
        scale = small.width / picture.width
        shown = with_heat(small, rows, [scale * edge for edge in (x0, y0, x1 + 1, y1 + 1)])
        alternative = f"The picture {name} under a heat map of the weights of its patches: {told}"
        figures += f'<figure><img src="{_data_uri(shown)}" alt="{alternative}"><figcaption>{name}</figcaption></figure>'
    stops = ", ".join(f"rgb({r} {g} {b})" for r, g, b in coloured(np.full(9, 128), np.linspace(0, 1, 9)))
    return (
        f'<div class="cde"><div class="cde-pair">{figures}</div><div class="cde-scale"><span>average weight or less'
        f'</span><i style="background:linear-gradient(90deg, {stops})"></i><span>{STRONGEST} times the average or more'
        "</span></div><p>The brighter, the more a patch counts in the delta, because it changed more; both pictures "
        f"have the same weights. Here: {told}.</p></div>"
    )


def bars(cosines: Mapping[str, float], pairs: int) -> str:
    """Cosine of the delta to each action's mean delta, a bar each, to the right of the middle where above zero.

    Args:
        cosines: Action -> cosine in [-1, 1], in the order in which they are shown; empty: the delta is zero.
        pairs: How many training pairs the means are taken over.
    """
    if not cosines:
        return '<div class="cde"><p>The delta is zero: the model sees no difference, so it points nowhere.</p></div>'
    rows = ""
    for place, (action, cosine) in enumerate(cosines.items()):
        half = min(50.0, 50 * abs(cosine))
        side = f"left:50%;width:{half:.1f}%" if cosine >= 0 else f"right:50%;width:{half:.1f}%"
        kind = "" if cosine >= 0 else ' class="cde-against"'
        rows += (
            f'<tr{" class=cde-first" if place == 0 else ""}><th scope="row">{escape(action)}</th>'
            f'<td><div class="cde-track"><i{kind} style="{side}"></i></div></td><td>{cosine:+.2f}</td></tr>'
        )
    return (
        '<div class="cde"><table aria-label="Cosine of the delta to the mean delta of each action">'
        f"<tbody>{rows}</tbody></table><p>Cosine to each action's mean delta over {pairs} training pairs: 1 is the "
        "same direction, -1 the opposite one.</p></div>"
    )


def nearest(neighbours: Sequence[Neighbour]) -> str:
    """The nearest training pairs: both pictures, what was done to what, and the cosine."""
    if not neighbours:
        return '<div class="cde"><p>The delta is zero, so no training pair is nearer than another.</p></div>'
    figures = "".join(
        f'<figure><div><img src="{_data_uri(one.before)}" alt="before: {escape(said := f"{one.action} {one.object}")}">'
        f'<img src="{_data_uri(one.after)}" alt="after: {escape(said)}"></div>'
        f'<figcaption title="{escape(one.pair_id)}"><b>{escape(one.action)}</b> {escape(one.object)}, '
        f"{one.cosine:+.2f}</figcaption></figure>"
        for one in neighbours
    )
    return f'<div class="cde"><div class="cde-near">{figures}</div></div>'


def no_gallery() -> str:
    """What stands where training pairs would, for a checkpoint without them."""
    return (
        '<div class="cde"><p>This checkpoint has no gallery.parquet, so there are no training pairs to compare with; '
        "<code>python -m modeling_cde.evaluation</code> writes one beside it.</p></div>"
    )


def _small(picture: Image.Image) -> Image.Image:
    """A copy that is no larger than it is shown."""
    small = picture.copy()
    small.thumbnail((SHOWN, SHOWN))
    return small


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    _small(picture).convert("RGB").save(buffer, format="JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
