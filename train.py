"""Train and evaluate an action model on before/after pairs.

accelerate launch train.py --config configs/quickstart.yaml [--method concatenation] [--backbone ORG/NAME] [--seed 1]
"""

import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modeling_cde.cli.extras import install
from modeling_cde.cli.verbs import command, program


def parse(arguments: list[str]) -> tuple[Any, Any, Any]:
    """The arguments of model, data and training; everything about them that can be wrong is found here."""
    from modeling_cde.training.arguments import BROUGHT, DataArguments, ModelArguments
    from modeling_cde.training.checkpoints.checkpoint_folder import check_is_new
    from modeling_cde.training.model_selection import check_last_is_kept
    from modeling_cde.training.recipe import parse_recipe
    from modeling_cde.training.training_args import CDETrainingArguments
    from modeling_cde.training.training_data import feature_store

    kinds = (ModelArguments, DataArguments, CDETrainingArguments)
    model_args, data_args, train_args = parse_recipe(kinds, arguments, BROUGHT)
    check_last_is_kept(train_args)
    check_is_new(train_args)
    feature_store(model_args, data_args)
    if missing := [name for name in ("matplotlib", "sklearn", "jinja2") if not find_spec(name)]:  # used at the end
        raise ValueError(f"{missing[0]} is not installed: {install('analysis')}")
    return model_args, data_args, train_args


def prepare(arguments: list[str], compared: bool = False) -> Any:
    """The run that the arguments describe: weights fetched, rooms rendered, features kept, ready to train.

    `compared`: it is one of several that are compared on the test parts.
    """
    from accelerate import PartialState

    from data_scripts.training_inputs import reachable_backbone, render_rooms
    from modeling_cde.training.distributed import use_all_cores
    from modeling_cde.training.progress import hide_bars
    from modeling_cde.training.run import check_resumed, make_run

    model_args, data_args, train_args = parse(arguments)
    if train_args.disable_tqdm:
        hide_bars()
    check_resumed(model_args, data_args, train_args)
    model_args.backbone = reachable_backbone(model_args.backbone, model_args.backbone_revision)
    state = PartialState()
    if state.device.type == "cpu":
        use_all_cores(state.num_processes)
    with state.main_process_first():
        render_rooms(data_args)
    return make_run(arguments, model_args, data_args, train_args, compared)


def main(arguments: list[str], *callbacks: Any) -> None:
    """Train and evaluate; end with one sentence if arguments, data or files cannot be used."""
    started = time.time()
    from modeling_cde.training.training_data import sentence_of

    found = {}
    try:
        runs = [*compared(arguments), arguments]
        for given in runs:
            try:
                run = prepare(given, len(runs) > 1)
            except (TypeError, RuntimeError) as error:  # later these two would be faults of the program
                raise ValueError(sentence_of(error)) from error
            with run.trainer.alone():
                found[run.title] = train(run, started, callbacks)
        if run.trainer.is_world_process_zero():
            say(run, found, started)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"{program('train.py')}: {sentence_of(error)}")


def compared(arguments: list[str]) -> list[list[str]]:
    """The arguments of the runs of `--compare_with`; a method's own flags win over those that are given."""
    from modeling_cde.models.methods import METHODS

    model_args, _, train_args = parse(arguments)
    runs = []
    methods = model_args.compared_methods()
    if methods and train_args.max_steps < 0 and train_args.num_train_epochs == 0:
        raise ValueError(f'--num_train_epochs 0 leaves {methods[0]} untrained, so add --compare_with "".')
    for method in methods:
        flags = {"method": method, **METHODS[method].flags, "output_dir": Path(train_args.output_dir, method)}
        flags |= {"push_to_hub": False, "classifier": "linear"}
        runs.append([*arguments, *(f"--{name}={value}" for name, value in flags.items())])
    return runs


def train(run: Any, started: float, callbacks: Any) -> dict[str, Any]:
    """Train, evaluate, and leave checkpoint, numbers, picture and card in the output folder; returns `metrics.json`."""
    from modeling_cde.analysis.plots.curves import plot_training_curve
    from modeling_cde.cards.model_card import write_model_card
    from modeling_cde.data.load_splits import reported_splits
    from modeling_cde.evaluation.evaluate import evaluate_splits
    from modeling_cde.evaluation.rejections import has_thresholds
    from modeling_cde.training.checkpoints.model_files import write_again
    from modeling_cde.training.doctor_callback import DoctorCallback
    from modeling_cde.training.model_selection import restore_last, selected_epoch
    from modeling_cde.whole_files import write_whole

    trainer, record = run.trainer, run.record
    if trainer.is_world_process_zero():
        print("\n".join(run.says()))
    for callback in (*callbacks, doctor := DoctorCallback()):  # the doctor has the last word on saving
        trainer.add_callback(callback)
    output = Path(trainer.args.output_dir)
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    if doctor.stopped:
        said = f"stopped ({doctor.stopped.sentence}) and not evaluated; {output} keeps its checkpoints."
        sys.exit(f"{program('train.py')}: {said}")
    trainer.save_model(str(output))
    trainer.save_state()
    record["minutes"] = round((trainer.seconds_before + time.time() - started) / 60, 1)
    record["selected"] = selected_epoch(trainer)
    record |= {"changed_settings": trainer.changed_settings} if trainer.changed_settings else {}
    parts, batch_size = (reported_splits(run.splits), run.transform), trainer.args.per_device_eval_batch_size
    about: dict[str, Any] = {"extra": {"training": record}, "bank": run.bank(), "keep": run.keep}
    model = trainer.whole_model()
    metrics = evaluate_splits(model, *parts, output, batch_size, **about, calibrate=True)
    if has_thresholds(model) and trainer.is_world_process_zero():
        write_again(model, output)  # with its thresholds, which the evaluation has set
    if trainer.args.evaluate_last_checkpoint and record["selected"]["step"] != trainer.state.global_step:
        record["selected"] = restore_last(trainer)
        evaluate_splits(trainer.whole_model(), *parts, output / "last", batch_size, **about)
    if trainer.is_world_process_zero():
        for manifest in record["manifests"]:
            with write_whole(output / f"split_{Path(manifest).name}") as temporary:
                shutil.copyfile(manifest, temporary)
        plot_training_curve(output)
        write_model_card(output)
    return metrics


def say(run: Any, found: dict[str, dict[str, Any]], started: float) -> None:
    """Print the table and what the run has left, and publish it if asked to; `found` has title -> `metrics.json`."""
    from modeling_cde.cards.publishing import publish_run
    from modeling_cde.evaluation.evaluate import comparison_table, results_table

    output = Path(run.trainer.args.output_dir)
    table = comparison_table(found) if len(found) > 1 else results_table(found[run.title])
    print(f"\n{table}\n\n{output}/ holds the checkpoint (config.json, model.safetensors), the card")
    files = "(README.md), metrics.json, deltas.safetensors, training_curve.png and the splits (split_*.json)"
    print(f"{files}. All of it took {(time.time() - started) / 60:.1f} minutes.")
    if found[run.title]["splits"]:
        print(f"For the geometry of the deltas, pictures and a report: {command('modeling_cde.analysis')} {output}")
    if (args := run.trainer.args).push_to_hub:
        how = {"private": bool(args.hub_private_repo), "token": args.hub_token, "revision": args.hub_revision}
        print(f"Published at {publish_run(output, run.trainer.hub_model_id, **how)}")


if __name__ == "__main__":
    from modeling_cde.training.distributed import tells_of_lost_processes
    from modeling_cde.training.stopping import stoppable
    from modeling_cde.whole_files import in_one_sentence

    with stoppable("train.py") as stop, in_one_sentence("train.py"), tells_of_lost_processes("train.py"):
        main(sys.argv[1:], stop)
