"""Reads and checks the files of a finished run, from which cards are rendered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.methods import by_model_type
from ..whole_files import command_without_places, read_object, without_places

#: Pictures that a card shows if the run has them -> caption.
PICTURES = {
    "training_curve.png": "Loss terms and validation accuracy over the steps of training",
    "pictures/confusion_test.png": "Predicted and true actions, IID",
    "pictures/confusion_test_comp.png": "Predicted and true actions, OOD compositional",
    "pictures/confusion_test_syst.png": "Predicted and true actions, OOD systematic",
    "pictures/cosines_test.png": "Cosines between the mean deltas of the actions, IID",
    "pictures/map_pca_test.png": "The deltas in two dimensions (PCA), coloured by action",
}


@dataclass(frozen=True)
class RunFiles:
    """The files of a run.

    Attributes:
        folder: their folder.
        config: `config.json`, the model's configuration.
        metrics: `metrics.json`, with the record of the training.
        geometry: `geometry.json` as `python -m modeling_cde.analysis` writes it, or None.
        pictures: paths in the folder -> captions, of the pictures that exist.
    """

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    geometry: dict[str, Any] | None
    pictures: dict[str, str]

    @property
    def training(self) -> dict[str, Any]:
        """What train.py recorded: command, data, pairs, minutes, arguments."""
        training: dict[str, Any] = self.metrics["training"]
        return training

    @property
    def rendered(self) -> bool:
        """Whether it was trained on this project's rendered rooms."""
        return self.training["arguments"].get("data") is None

    @property
    def actions(self) -> list[str]:
        """The actions' names, in order of their ids."""
        names = {int(key): value for key, value in self.config["id2label"].items()}
        return [names[i] for i in sorted(names)]


def read_run(run: str | Path) -> RunFiles:
    """Read the files of a finished run.

    Args:
        run: folder with `config.json` and `metrics.json`, as train.py leaves it.

    Raises:
        FileNotFoundError: one of the two files is missing.
        ValueError: a file is not JSON or not of one of these models, or `metrics.json` has no record of a training.
    """
    folder = Path(run)
    for name in ("config.json", "metrics.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: give the output folder of a finished run.")
    config, metrics = read_object(folder / "config.json"), read_object(folder / "metrics.json")
    if str(config.get("model_type")) not in by_model_type():
        raise ValueError(
            f"{folder / 'config.json'} belongs to a {config.get('model_type')!r} model, which train.py does not train "
            f"(it trains {', '.join(by_model_type())}): give the output folder of a run."
        )
    training = metrics.get("training")
    if not isinstance(training, dict) or not isinstance(training.get("arguments"), dict):
        raise ValueError(
            f"{folder / 'metrics.json'} comes from an evaluation and does not say how the model was trained: give the "
            "output folder of train.py."
        )
    for named in (config, training["arguments"]):
        if "global_feature" in named:  # the older name of pooling
            named["pooling"] = named.pop("global_feature")
    # As train.py writes them; older runs have the places of files, too.
    backbone = training["arguments"].get("backbone")
    metrics["training"] = training = without_places(training)
    if training["arguments"].get("backbone") != backbone:  # a bare name could be that of a repository
        training.setdefault("backbone_source", {"source": training["arguments"]["backbone"]})
    if "command" in training:
        training["command"] = command_without_places(str(training["command"]))
    geometry = folder / "geometry.json"
    return RunFiles(
        folder,
        config,
        metrics,
        read_object(geometry) if geometry.is_file() else None,
        {path: text for path, text in PICTURES.items() if (folder / path).is_file()},
    )
