"""`CDEClassifier`: fitted to a few of one's own pairs like an estimator of scikit-learn, saved as a CDE checkpoint."""

import inspect
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.splits import OPPOSITES
from ..features.store import FeatureStore
from . import FOLDS, HEADS, Head
from .backbone import Backbone, load_backbone
from .heads import Examples, fit_head, head_for, new_model
from .pairs import are_features, checked_pairs, checked_targets, encode_pairs, have_boxes
from .thresholds import calibrate_head
from .validation import CrossValidation, cross_validate


class CDEClassifier:
    """Names the action between two pictures, after a few pairs of one's own.

    A frozen backbone reads the patches that changed, from four of its layers. The head on top is a discriminant
    analysis in closed form for few pairs, and is trained by CDE's losses for many; see `heads.py`. Pairs whose action
    has an opposite are used a second time, backwards. What is read of a picture is kept on disk, so that the second fit
    takes seconds.

    It follows scikit-learn's rules for estimators: parameters are kept as they are given, what is fitted ends in an
    underscore, and `sklearn.base.clone` and `sklearn.model_selection` take it. scikit-learn is not needed.

    Args:
        backbone: Repository or folder of a vision backbone of Transformers, or of a CDE checkpoint, whose backbone is
            read as the checkpoint reads it.
        revision: Commit of that repository.
        image_size: Side of the pictures that the backbone sees, in pixels. A CDE checkpoint has its own.
        head: "closed_form", "trained", or "auto": by the number of pairs.
        opposites: Action -> its opposite, such as {"lift": "lower"}; one way is enough, and {} uses no pair twice.
            None: open and close, turnon and turnoff, dirty and clean, fill and empty.
        seed: Of a trained head, and of folds.
        feature_store: Folder for what is read of pictures. None: in the cache folder of this package.

    Attributes:
        classes_: Names of the actions, sorted, (A,).
        model_: The `CDEForActionClassification`.
        image_processor_: Its `CDEImageProcessor`.
        head_: The kind of head that was fitted.
        n_pairs_: Number of pairs that it was fitted to.
        crops_: Whether their boxes were cut out; then pairs to predict need a box, too.
        rejections_: The thresholds with which the saved checkpoint answers "nothing changed" and "something else" in
            the pipeline, as `metrics.json` has them; None if there are too few pairs. `predict` names an action only.

    Examples:
        >>> classifier = CDEClassifier().fit([("1a.jpg", "1b.jpg"), ("2a.jpg", "2b.jpg")], ["open", "lift"])
        >>> classifier.predict([("3a.jpg", "3b.jpg")])
        array(['open'], dtype='<U4')
        >>> classifier.save_pretrained("my_model")
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        backbone: str = "facebook/dinov2-small",
        *,
        revision: str | None = None,
        image_size: int = 224,
        head: str = "auto",
        opposites: Mapping[str, str] | None = None,
        seed: int = 0,
        feature_store: str | None = None,
    ) -> None:
        self.backbone = backbone
        self.revision = revision
        self.image_size = image_size
        self.head = head
        self.opposites = opposites
        self.seed = seed
        self.feature_store = feature_store

    # The rules of estimators

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> "CDEClassifier":
        """Sets parameters, and returns the classifier."""
        for name, value in params.items():
            if name not in self._parameters():
                raise ValueError(
                    f"CDEClassifier has no parameter {name!r}; its own are {', '.join(self._parameters())}."
                )
            setattr(self, name, value)
        return self

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        given = [f"{name}={value!r}" for name, value in self.get_params().items() if value != defaults[name].default]
        return f"{type(self).__name__}({', '.join(given)})"

    # Fit and predict

    def fit(self, X: Any, y: Sequence[Any], objects: Sequence[Any] | None = None) -> "CDEClassifier":
        """Fits the head to all pairs.

        Args:
            X: n pairs (before, after) of paths, PIL images or arrays; or {"before": ..., "after": ..., "box": ...}, of
                which the box (xmin, ymin, xmax, ymax in pixels, inclusive) is cut out; or what `encode` gave for them.
            y: Name of the action of each pair, (n,).
            objects: The kind of object of each pair, (n,). The closed form treats how an action varies from object to
                object as noise.

        Raises:
            ValueError: There are no pairs, only one action, or columns of unequal length; the message says which.
            OSError: A picture or the backbone cannot be read.
        """
        targets, classes = self.check(X, y, objects=objects)
        examples = self._examples(X, targets, classes)
        self.crops_ = not are_features(X) and have_boxes(checked_pairs(X))
        return self._fit(examples, classes)

    def cross_validate(
        self,
        X: Any,
        y: Sequence[Any],
        objects: Sequence[Any] | None = None,
        groups: Sequence[Any] | None = None,
        folds: int = FOLDS,
    ) -> CrossValidation:
        """The accuracy on scenes and objects that the head was not fitted to; the classifier itself is not changed.

        Args:
            X, y, objects: See `fit`.
            groups: The scene of each pair (a room, a recording, a day), (n,). Pairs of one scene are tested together.
            folds: Of scenes.
        """
        targets, classes = self.check(X, y, objects=objects, groups=groups)
        examples = self._examples(X, targets, classes)
        head = self._kind(len(examples))

        def fit(part: Examples, actions: Sequence[str]) -> Any:
            model = self._new_model(part, actions, head)
            return lambda features: _scores(model, features)

        actions, kinds = list(map(str, classes)), targets.get("objects")
        return cross_validate(
            examples,
            actions,
            targets.get("groups"),
            None if kinds is None else list(map(str, kinds)),
            self._opposites(),
            fit,
            head,
            folds,
            self.seed,
        )

    def encode(self, X: Any) -> np.ndarray[Any, Any]:
        """What the backbone reads of pairs, (n, 2, D_b) float32: each method takes it in place of X."""
        loaded = self._loaded()
        return self._features(X, loaded.model, loaded.processor).numpy()

    def predict_proba(self, X: Any) -> np.ndarray[Any, Any]:
        """Probabilities of the actions in the order of `classes_`, (n, A)."""
        self._check_fitted()
        if not len(X):
            return np.zeros((0, len(self.classes_)))
        features = self._features(X, self.model_.base_model, self.image_processor_)
        return _scores(self.model_, features).double().softmax(dim=1).numpy()

    def predict(self, X: Any) -> np.ndarray[Any, Any]:
        """The most probable action of each pair, (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        found: np.ndarray[Any, Any] = self.classes_[best]
        return found

    def score(self, X: Any, y: Sequence[Any]) -> float:
        """The share of pairs whose action is named."""
        found, given = self.predict(X), checked_targets(len(X), y=y)["y"]
        if not given:
            raise ValueError("There are no pairs to score: give at least one.")
        return float(np.mean([a == b for a, b in zip(found.tolist(), given, strict=True)]))

    # Saving

    def save_pretrained(
        self, folder: str | os.PathLike[str], report: CrossValidation | None = None, **about: Any
    ) -> None:
        """Saves a checkpoint that `from_pretrained` and `pipeline("action-classification")` load, and its card.

        Args:
            folder: Created if absent.
            report: What `cross_validate` found, for the card.
            **about: For the card: see `saving.write_results`.
        """
        from .saving import write_results

        self._check_fitted()
        self.model_.save_pretrained(folder)
        self.image_processor_.save_pretrained(folder)
        write_results(Path(folder), self, report, **about)

    def push_to_hub(
        self,
        repo_id: str,
        report: CrossValidation | None = None,
        *,
        private: bool = False,
        token: str | None = None,
        **about: Any,
    ) -> str:
        """Publishes the checkpoint with its card as ORG/NAME, in one commit, and returns its address.

        `about` is for the card, such as `license="cc-by-4.0"`: see `saving.write_results`.
        """
        from ..cards.publishing import publish_run

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, report, **about)
            try:
                message = "Upload a fitted classifier"
                return publish_run(folder, repo_id, private=private, token=token, commit_message=message)
            except (PermissionError, ConnectionError) as error:  # which advises on the folder
                raise type(error)(str(error.__cause__ or error)) from error

    @classmethod
    def from_pretrained(cls, checkpoint: str | os.PathLike[str], *, revision: str | None = None) -> "CDEClassifier":
        """Loads a saved classifier, or any `CDEForActionClassification` in global mode; `fit` gives it a new head.

        Raises:
            ValueError, OSError: The checkpoint cannot be read, or is of another model.
        """
        from ..models.load_model import load_action_model

        model, processor = load_action_model(os.fspath(checkpoint), revision)
        if model.config.model_type != "cde" or model.config.delta_mode != "global":
            raise ValueError(
                f"{checkpoint} has no CDE model in global mode, which this classifier is: use it by "
                'pipeline("action-classification").'
            )
        size = processor.size.get("height", 224)
        found = cls(os.fspath(checkpoint), revision=revision, image_size=size)
        found.model_, found.image_processor_ = model, processor
        found.classes_ = np.array([model.config.id2label[i] for i in range(model.config.num_labels)])
        return found

    def check(self, X: Any, y: Any, **columns: Any) -> tuple[dict[str, list[Any]], np.ndarray[Any, Any]]:
        """Checks pairs and targets before anything is encoded, and returns the targets by name, and the actions.

        Raises:
            ValueError, OSError: As for `fit`.
        """
        if self.head not in ("auto", *HEADS):
            raise ValueError(f"head={self.head!r} is not known; choose one of: auto, {', '.join(HEADS)}.")
        if hasattr(X, "__len__") and len(X) == 0:
            raise ValueError("There are no pairs: give at least one pair of each of two actions.")
        number = len(X if are_features(X) else checked_pairs(X))
        targets = checked_targets(number, y=y, **columns)
        classes = np.unique(np.array(targets["y"]))
        if len(classes) < 2:
            raise ValueError(
                f"All pairs show the action {str(classes[0])!r}, and a classifier tells actions apart: add pairs of "
                "another action."
            )
        return targets, classes

    # Parts

    def _fit(self, examples: Examples, classes: np.ndarray[Any, Any]) -> "CDEClassifier":
        loaded, head = self._loaded(), self._kind(len(examples))

        def fit(part: Examples, actions: Sequence[str]) -> Any:
            return self._new_model(part, actions, head)

        ids = {str(name): i for i, name in enumerate(classes)}
        opposites = {ids[a]: ids[b] for a, b in self._opposites().items() if a in ids and b in ids}
        model = fit(examples.with_swapped(opposites), list(ids))
        model.config.backbone_revision = loaded.model.config.backbone_revision
        self.rejections_ = calibrate_head(model, examples, list(ids), opposites, fit, head)
        self.model_, self.image_processor_ = model, loaded.processor
        self.classes_, self.head_, self.n_pairs_ = classes, head, len(examples)
        return self

    def _new_model(self, examples: Examples, actions: Sequence[str], head: Head) -> Any:
        """A model with a head that is fitted to these examples."""
        loaded = self._loaded()
        model = new_model(loaded.model.backbone, loaded.reading, actions, head, self.seed)
        fit_head(model, examples, head, self.seed)
        return model

    def _examples(self, X: Any, targets: Mapping[str, list[Any]], classes: np.ndarray[Any, Any]) -> Examples:
        loaded = self._loaded()
        features = self._features(X, loaded.model, loaded.processor)
        places = {name: place for place, name in enumerate(classes.tolist())}
        labels = torch.tensor([places[name] for name in np.array(targets["y"]).tolist()])
        kinds = list(map(str, targets.get("objects", [""] * len(features))))
        names = {name: i for i, name in enumerate(sorted(set(kinds)))}
        return Examples(features, labels, torch.tensor([names[name] for name in kinds]))

    def _features(self, X: Any, encoder: Any, processor: Any) -> torch.Tensor:
        if not are_features(X):
            return encode_pairs(X, encoder, processor, FeatureStore(self.feature_store))
        if X.shape[1:] != (2, width := encoder.reader.feature_dim):
            raise ValueError(f"Features have the shape {tuple(X.shape)}, and this backbone gives (n, 2, {width}).")
        return torch.as_tensor(X, dtype=torch.float32)

    def _loaded(self) -> Backbone:
        """The backbone, loaded once for all calls with these parameters."""
        wanted = (self.backbone, self.revision, self.image_size)
        if getattr(self, "_kept", (None,))[0] != wanted:
            self._kept = (wanted, load_backbone(*wanted))
        return self._kept[1]

    def _kind(self, pairs: int) -> Head:
        return head_for(pairs) if self.head == "auto" else self.head  # type: ignore[return-value]

    def _opposites(self) -> dict[str, str]:
        if self.opposites is None:
            return dict(OPPOSITES)
        return {b: a for a, b in self.opposites.items()} | dict(self.opposites)

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise ValueError("This CDEClassifier is not fitted yet: call fit(X, y) first, or from_pretrained.")


@torch.no_grad()
def _scores(model: Any, features: torch.Tensor) -> torch.Tensor:
    """(n, 2, D_b) -> the scores of the actions, (n, A)."""
    device = next(model.parameters()).device
    return torch.cat([model(features=part.to(device)).logits.float().cpu() for part in torch.split(features, 1024)])
