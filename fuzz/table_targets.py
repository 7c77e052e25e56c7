"""Tables and folders of pairs: CSV, JSON lines, Parquet, EPIC-KITCHENS annotations, and a built data set's folder."""

import io
import json
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from fuzz.case import Target, json_seeds, written

_HEADER = "before,after,action,object,group,box,mask_before,mask_after,pair_id"
_ROW = "a.png,b.png,open,box,one,0 0 3 3,,,p1"
_FIELDS: dict[str, Any] = dict(zip(_HEADER.split(","), _ROW.split(","), strict=True))
_EPIC = b'narration_id,video_id,verb_class,x\nP01_01_0,P01_01,3,a\nP01_01_1,P01_01,4,"b\n,c"\n'
_TEXT = tuple(b', " \0 \xff\xfe \xef\xbb\xbf ../ /etc/passwd http://a/b =1+1 NaN'.split(b" ")) + (b"\n", b"\r")


def listing(suffix: str) -> Callable[[bytes, Path], object]:
    """A table of pairs in one format."""

    def read(data: bytes, folder: Path) -> object:
        from data_scripts.episodes.listing import class_names, read_listing

        found = read_listing(written(data, folder / f"pairs{suffix}"))
        class_names(found.listed(), found.name)
        return found

    return read


def source(data: bytes, folder: Path) -> object:
    """A table of pairs, with the pictures that it names, built as the command does."""
    from data_scripts.episodes.table import TableSource
    from fuzz.archive_targets import picture

    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(picture("PNG"))
    table = TableSource(written(data, folder / "pairs.csv"), view="multi")
    return [table.build(unit) for unit in table.units()]


def epic(data: bytes, folder: Path) -> object:
    """EPIC-KITCHENS-100's table of annotations."""
    from data_scripts.epic_kitchens.csv_tables import read_rows

    return list(read_rows(written(data, folder / "EPIC_100_train.csv"), ("narration_id", "video_id", "verb_class")))


def houses(data: bytes, folder: Path) -> object:
    """A file of ProcTHOR houses, plain or gzip."""
    from data_scripts.procthor.houses import HouseReader, scan_houses

    found = scan_houses(written(data, folder / "houses.jsonl"))
    with closing(HouseReader(found)) as reader:
        return [reader.read(number) for number in range(found.count) if number not in found.problems]


def wide(data: bytes, folder: Path) -> object:
    """A table whose header and rows repeat: a JSON object of names and how often each stands there, by bytes."""
    try:
        told = json.loads(data)
        parts = [(str(name), int(times)) for name, times in dict(told["columns"]).items()]
        rows, cell = max(0, min(int(told["rows"]), 20)), str(told["cell"])
    except (ValueError, RecursionError, KeyError, TypeError, OverflowError) as error:
        raise ValueError("the case is not such a JSON object.") from error
    names = [f"{name}{number or ''}" for name, times in parts for number in range(max(0, min(times, 30_000)))]
    lines = [",".join(names), *[",".join([cell] * len(names))[:1_000_000]] * rows]
    content = "\n".join(lines)[:20_000_000].encode("utf-8", "surrogatepass")
    return listing(".csv")(content, folder)


def header(data: bytes, folder: Path) -> object:
    """The YAML header of a data set's README.md, with a Parquet file of pairs beside it."""
    import datasets

    from modeling_cde.data import load_pairs

    written(_data_set()["pairs"], folder / "set" / "single" / "train-00000.parquet")
    written(b"---\n" + data + b"\n---\n", folder / "set" / "README.md")
    datasets.disable_progress_bars()
    return load_pairs(folder / "set", "single_comp", "train", cache_dir=folder / "cache")


def data_set(data: bytes, folder: Path) -> object:
    """A folder with a Parquet file of pairs."""
    import datasets

    from modeling_cde.data import load_pairs

    written(data, folder / "set" / "single" / "train-00000.parquet")
    configs = [{"config_name": "single_comp", "data_files": [{"split": "train", "path": "single/train-*.parquet"}]}]
    (folder / "set" / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")
    datasets.disable_progress_bars()
    rows = load_pairs(folder / "set", "single_comp", "train", cache_dir=folder / "cache")
    return [rows[i] for i in range(len(rows))]


def _csv(comma: str = ",") -> Mapping[str, bytes]:
    one = f"{_HEADER}\n{_ROW}\n"
    texts = {"row": one, "two": f"{one}{_ROW.replace('p1', 'p2')}\n"}
    return {name: text.replace(",", comma).encode() for name, text in texts.items()}


def _json_lines() -> Mapping[str, bytes]:
    return json_seeds(row=_FIELDS, list=_FIELDS | {"box": [0, 0, 3, 3], "action": 3})


def _parquet_table() -> Mapping[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({name: [value] for name, value in _FIELDS.items()}), file)
    return {"row": file.getvalue()}


def _houses() -> Mapping[str, bytes]:
    import gzip

    plain = b'{"objects": [{"id": "Fridge|2|0"}], "rooms": []}\n{"objects": [{"id": "Mug|1", "children": []}]}\n'
    return {"plain": plain, "gzip": gzip.compress(plain, mtime=0), "line": plain.splitlines()[0]}


def _data_set() -> Mapping[str, bytes]:
    from fuzz.archive_targets import picture
    from modeling_cde.data.building.shards import encode_shard
    from modeling_cde.data.schema import pair_features

    content = {"bytes": picture("PNG"), "path": None}
    row = {"before": content, "after": content, "action": 0, "object": 0, "scene": "s", "pair_id": "p"}
    row |= {"box": [0, 0, 3, 3], "mask_before": None, "mask_after": None}
    return {"pairs": encode_shard([row], pair_features(("open", "close"), ("box",)).arrow_schema)}


def _wide() -> Mapping[str, bytes]:
    usual = dict.fromkeys(_HEADER.split(","), 1)
    return json_seeds(
        usual={"columns": usual, "rows": 1, "cell": "a.png"},
        many={"columns": usual | {"extra": 20_000}, "rows": 2, "cell": "x"},
        alike={"columns": {"befor": 2_000, "afterr": 2_000}, "rows": 0, "cell": ""},
        long={"columns": usual | {"n" * 5_000: 3}, "rows": 1, "cell": "y" * 5_000},
    )


def _headers() -> Mapping[str, bytes]:
    plain = b"configs:\n- config_name: single_comp\n  data_files:\n  - split: train\n    path: single/train-*.parquet\n"
    lines = [b"a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for last, name in zip(b"abcdef", b"bcdefg", strict=True):
        lines.append(b"%c: &%c [%s]" % (name, name, b", ".join([b"*%c" % last] * 10)))
    return {"plain": plain, "references": plain + b"\n".join(lines), "itself": plain + b"a: &a [*a]\n"}


_YAML = tuple(
    b"&a [*a]|*a|<<: *a|? |- |!!python/object/apply:os.system ['x']|single|path: ../../x|data_dir: /".split(b"|")
)
TARGETS = (
    Target("wide_table", wide, (ValueError,), _wide, (), 0.3),
    Target("header", header, (ValueError, OSError), _headers, tuple(_YAML), 0.2),
    Target("csv", listing(".csv"), (ValueError,), _csv, _TEXT, 2.0),
    Target("tsv", listing(".tsv"), (ValueError,), lambda: _csv("\t"), _TEXT, 1.0),
    Target("json_lines", listing(".jsonl"), (ValueError,), _json_lines, _TEXT, 2.0),
    Target("parquet", listing(".parquet"), (ValueError,), _parquet_table, (b"PAR1", b"ARROW:schema", b"pairs"), 2.0),
    Target("table_source", source, (ValueError,), _csv, _TEXT, 1.0),
    Target("epic_table", epic, (ValueError,), lambda: {"rows": _EPIC}, _TEXT, 1.0),
    Target("houses", houses, (ValueError,), _houses, (b'"objects"', b"|", b"\x1f\x8b", b"[" * 3000), 1.0),
    Target("data_set", data_set, (ValueError, OSError), _data_set, (b"PAR1", b"huggingface", b"pairs"), 0.2),
)
