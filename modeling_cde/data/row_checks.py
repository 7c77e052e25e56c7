"""Finds faulty rows of a data set before any long work begins: checks all columns, and the heads of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..models.regions_cde import checked_box
from .chosen_rows import evenly_spaced
from .crops import head_size, open_picture

#: Pairs of each split whose pictures' heads are checked, evenly spaced; 20,000 take seconds.
MOST_HEADS = 20_000


def check_splits(
    splits: Mapping[str, datasets.Dataset], source: str, *, boxes_needed: bool, trained: bool = True
) -> None:
    """Check every row of a training's or a test's splits, and the heads of pictures without decoding any.

    Args:
        splits: "train" and the parts to validate and test on, as `load_shifts` names them, with all columns of the
            right types (`load_pairs`).
        source: Folder or repository, for the error.
        boxes_needed: Whether every row needs a box, because the model is shown the box.
        trained: Whether a model will be trained on "train".

    Raises:
        ValueError: A split has no pairs; the class, pair_id, picture or box of a row is missing or out of range; a
            picture among `MOST_HEADS` pairs of a split is unreadable, too large, or differs in size from its partner;
            a pair_id occurs twice in a split, or in training and in another split; the splits have
            different classes; training has fewer than two pairs or actions. The message names split and pair.
    """
    done: set[int] = set()
    for name, rows in splits.items():
        if id(rows) not in done:
            check_rows(rows, f"{source}, {name}", boxes_needed=boxes_needed)
        done.add(id(rows))
    _check_classes(splits, source)
    if "train" not in splits:
        return
    train = splits["train"]
    actions = pc.unique(_table(train, ["action"])["action"]).to_pylist()
    if trained and len(actions) < 2:
        only = train.features["action"].int2str(actions[0])
        raise ValueError(
            f"{source}: train has only the action {only!r}, so there is nothing to distinguish; add pairs of another."
        )
    trained_on = _table(train, ["pair_id"])["pair_id"]
    for name, rows in splits.items():
        ids = _table(rows, ["pair_id"])["pair_id"]
        shared = pc.filter(ids, pc.is_in(ids, value_set=trained_on.combine_chunks())) if rows is not train else []
        if len(shared):
            raise ValueError(
                f"{source}: the pair {shared[0].as_py()!r} is in train and in {name} ({len(shared)} pairs are); "
                "a model must not be tested on what it was trained on, so split the data set again."
            )


def _check_classes(splits: Mapping[str, datasets.Dataset], source: str) -> None:
    """Check that all splits have the classes of training, or without it those of the first split."""
    first = "train" if "train" in splits else next(iter(splits), "")
    for name, rows in splits.items():
        for column in ("action", "object"):
            if rows.features[column].names != splits[first].features[column].names:
                raise ValueError(
                    f"{source}: {name} and {first} have different classes of {column}, so their numbers mean different "
                    "things; build the data set again in one go."
                )


def check_rows(rows: datasets.Dataset, where: str, *, boxes_needed: bool) -> None:
    """Check every row of one split; see `check_splits`. `where` names data set and split in the error."""
    if len(rows) == 0:
        raise ValueError(f"{where}: the split has no pairs; build the data set with more pairs.")
    known = [name for name in ("pair_id", "action", "object", "box") if name in rows.column_names]
    table = _table(rows, known)
    ids = table["pair_id"]
    if ids.null_count or pc.any(pc.equal(ids, "")).as_py():
        row = _first(pc.fill_null(pc.equal(ids, ""), True))
        raise ValueError(f"{where}: row {row} has no pair_id; give each pair its own.")
    if len(pc.unique(ids)) < len(ids):
        counts = pc.value_counts(ids)
        twice = next(item["values"].as_py() for item in counts if item["counts"].as_py() > 1)
        raise ValueError(f"{where}: the pair_id {twice!r} occurs twice; give each pair its own.")
    for column in ("action", "object"):
        names = rows.features[column].names
        wrong = pc.fill_null(pc.or_(pc.less(table[column], 0), pc.greater_equal(table[column], len(names))), True)
        if (row := _first(wrong)) is not None:
            value = table[column][row].as_py()
            raise ValueError(
                f"{where}: the {column} of pair {ids[row]} is {'missing' if value is None else value}; it must be "
                f"one of the {len(names)} classes, 0 to {len(names) - 1}."
            )
    for column in ("before", "after"):
        pictures = _table(rows, [column])[column]
        gone = pc.and_(pc.is_null(pc.struct_field(pictures, "bytes")), pc.is_null(pc.struct_field(pictures, "path")))
        if (row := _first(gone)) is not None:
            raise ValueError(f"{where}: the picture {column!r} of pair {ids[row]} is missing; give each pair both.")
    if "box" in known:
        _check_boxes(table["box"], ids, where)
    if boxes_needed:
        lacking = pc.is_null(table["box"]) if "box" in known else pa.array([True])
        if (row := _first(lacking)) is not None:
            raise ValueError(
                f"{where}: pair {ids[row]} has no box for the single view to crop to; store boxes, or use the "
                "view multi, which shows whole pictures."
            )
    _check_pictures(rows, where, boxes_needed=boxes_needed)


def _check_pictures(rows: datasets.Dataset, where: str, *, boxes_needed: bool) -> None:
    """Check the heads of both pictures of pairs, and that the box is inside them."""
    known = [name for name in ("before", "after", "box", "pair_id") if name in rows.column_names]
    shown = rows.with_format(None).select_columns(known)
    for row in evenly_spaced(len(rows), MOST_HEADS):
        pair = shown[row]
        columns = [(pair[name], name, pair["pair_id"]) for name in ("before", "after")]
        try:
            _check_pair(pair, [head_size(*column) for column in columns], boxes_needed)
        except ValueError:
            try:  # decoding may find a tag that turns a picture
                _check_pair(pair, [open_picture(*column).size for column in columns], boxes_needed)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error


def _check_pair(pair: Mapping[str, Any], sizes: list[tuple[int, int]], boxes_needed: bool) -> None:
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"The pictures of pair {pair['pair_id']} have different sizes, {sizes[0]} before and {sizes[1]} after; "
            "store both in one size."
        )
    if boxes_needed and pair["box"] is not None:
        checked_box(pair["box"], sizes[0], pair["pair_id"])


def _check_boxes(boxes: Any, ids: Any, where: str) -> None:
    """Check that boxes are four whole numbers with inclusive bounds; that they fit is checked with the picture."""
    rule = "it must be four whole numbers xmin, ymin, xmax, ymax with 0 <= xmin <= xmax and 0 <= ymin <= ymax"
    try:
        bounds = boxes.cast(pa.list_(pa.float64(), 4))
    except pa.ArrowException as error:
        raise ValueError(f"{where}: a box has the type {boxes.type}; {rule}.") from error
    # A missing number becomes NaN, which fails every comparison below; a missing box is allowed.
    sides = [pc.list_element(bounds, i).to_numpy() for i in range(4)]
    good = np.logical_and.reduce([side == np.floor(side) for side in sides])  # false for NaN; infinity: see below
    good &= (0 <= sides[0]) & (sides[0] <= sides[2]) & (0 <= sides[1]) & (sides[1] <= sides[3])
    good &= np.isfinite(sides[2]) & np.isfinite(sides[3])
    wrong = np.flatnonzero(~good & boxes.is_valid().to_numpy())
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(f"{where}: the box {boxes[row].as_py()} of pair {ids[row]} is invalid; {rule}.")


def _table(rows: datasets.Dataset, columns: list[str]) -> pa.Table:
    """Some columns of the rows, in their order."""
    if rows._indices is None:  # in a small split, datasets' way of selecting columns takes longer than the checks
        return rows.data.table.select(columns)
    return rows.with_format("arrow").select_columns(columns)[:]


def _first(wrong: Any) -> int | None:
    """The first row for which it is true."""
    row = pc.index(wrong, True).as_py()
    return None if row < 0 else row
