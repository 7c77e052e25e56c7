"""The licence, credit and citation of EPIC-KITCHENS-100, for the cards."""

from __future__ import annotations

LICENSE = "cc-by-nc-4.0"
LICENSE_LINK = "https://creativecommons.org/licenses/by-nc/4.0/"
HOME = "https://epic-kitchens.github.io/"
ANNOTATIONS = "https://github.com/epic-kitchens/epic-kitchens-100-annotations"

TERMS = f"""\
EPIC-KITCHENS-100 is copyright by its authors and published under the [Creative Commons Attribution-NonCommercial 4.0
International License]({LICENSE_LINK}), and so is what is derived from it here: whoever uses or shares it must give
appropriate credit, link to the licence and say what was changed, without suggesting that the authors endorse them or
their use, and must not use it for commercial purposes."""

CREDIT = f"""\
Credit: *EPIC-KITCHENS-100* ({HOME}) by Dima Damen, Hazel Doughty, Giovanni Maria Farinella, Antonino Furnari, Evangelos
Kazakos, Jian Ma, Davide Moltisanti, Jonathan Munro, Toby Perrett, Will Price and Michael Wray (University of Bristol
and University of Catania)."""

PROVENANCE = (f"EPIC-KITCHENS-100: {HOME}", f"Annotations: {ANNOTATIONS}", f"Licence: {LICENSE_LINK}")

CITATION = """\
@article{Damen2022RESCALING,
  title   = {Rescaling Egocentric Vision: Collection, Pipeline and Challenges for EPIC-KITCHENS-100},
  author  = {Damen, Dima and Doughty, Hazel and Farinella, Giovanni Maria and Furnari, Antonino and Ma, Jian and
             Kazakos, Evangelos and Moltisanti, Davide and Munro, Jonathan and Perrett, Toby and Price, Will and
             Wray, Michael},
  journal = {International Journal of Computer Vision},
  volume  = {130},
  pages   = {33--55},
  year    = {2022},
  doi     = {10.1007/s11263-021-01531-2}
}"""

#: Why a build with frames is not published unless the user states that the licence allows it.
NOT_PUBLISHABLE = (
    "This build holds frames of EPIC-KITCHENS-100 (CC BY-NC 4.0), so it is not published by default: publish the index "
    "instead, or add --licence_allows_frames to state that your use and your agreement with the authors allow it."
)
