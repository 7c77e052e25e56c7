"""`python -m data_scripts.episodes label --input FOLDER --model runs/robot --output labelled --audit audit.html`

A model of pairs says for each episode what is seen, whether that is what its instruction says, and how much of it is
done in each frame. `--output` becomes a copy of the data set in the LeRobot format with three more columns:

    cde.action     string    the action that is seen from the first frame to the last; empty if none is
    cde.success    float32   the probability of the instructed action; NaN where the model does not know it
    cde.progress   float32   how much of the instructed action is done, 0 to 1; of the seen one if it is not known

`--audit` lists the episodes whose instruction contradicts what is seen, worst first, as a page with pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_scripts.episodes.judgement import label_episodes
from data_scripts.episodes.readings import Readings, read_known
from data_scripts.episodes.recording import read_recording
from data_scripts.episodes.verbs import read_verbs


def main(arguments: Sequence[str] | None = None) -> None:
    """Label the episodes of a data set in the LeRobot format by what a model of pairs sees."""
    parser = argparse.ArgumentParser(
        prog="python -m data_scripts.episodes label",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder with meta/info.json, v2.0, v2.1 or v3.0")
    add("--model", required=True, help="folder or repository of a CDE checkpoint")
    add("--output", type=Path, help="folder for a copy of the data set with the labels, which must not exist")
    add("--audit", type=Path, help="HTML file for the episodes whose instruction contradicts what is seen")
    add("--camera", help="key of the camera; not needed if there is only one")
    add("--verbs", type=Path, help="CSV phrase,action: verbs besides the built-in ones")
    add("--instructions", type=Path, help="CSV instruction,action,object: your own readings")
    options = parser.parse_args(arguments)
    if options.output is None and options.audit is None:
        parser.error("give --output, --audit or both: else nothing is written.")
    from data_scripts.builds.build_commands import plain_errors

    with plain_errors():
        _label(options)


def _label(options: argparse.Namespace) -> None:
    from data_scripts.episodes.audit import write_audit
    from data_scripts.episodes.labelled_copy import check_copy, write_labelled
    from modeling_cde.models.image_processing_cde import CDEImageProcessor
    from modeling_cde.models.modeling_cde import CDEForActionClassification

    if options.output is not None:
        check_copy(options.input, options.output)
    recording = read_recording(options.input, options.camera)
    readings = Readings(
        read_verbs(options.verbs) if options.verbs else None,
        read_known(options.instructions) if options.instructions else None,
    )
    model = CDEForActionClassification.from_pretrained(options.model).eval()
    processor = CDEImageProcessor.from_pretrained(options.model)
    notes: list[str] = []
    labels = list(label_episodes(model, processor, recording, readings, notes))
    notes += [f"Episode {fault.number}: {fault.sentence}." for fault in recording.faults]
    print("\n".join(notes), end="\n" if notes else "", flush=True)
    if not labels:
        raise ValueError(f"None of the {len(recording.episodes)} episodes of {options.input} could be labelled.")
    told = [label for label in labels if label.instructed]
    print(
        f"{len(labels)} episodes labelled; of {len(told)} the model knows the instructed action, and "
        f"{sum(label.contradicts for label in told)} of them contradict it."
    )
    if options.output is not None:
        write_labelled(options.input, options.output, labels)
        print(f"Labelled data set: {options.output}")
    if options.audit is not None:
        write_audit(options.audit, options.input.resolve().name, str(options.model), labels)
        print(f"Audit: {options.audit}")
