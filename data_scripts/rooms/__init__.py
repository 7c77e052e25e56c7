"""Furnished rooms rendered by MuJoCo: before/after pairs of an action on one object, with no download.

The pipeline, one module each: `meshes` and `pieces` (unit solids) -> `shapes` (placed, coloured solids) -> `objects`
(kinds of things, each a function of its state) -> `scene` (a furnished room) -> `camera` and `renderer` (images and
segmentation) -> `pairs` (acceptance rules) -> `units` and `build` (resumable work units, the data set).
"""
