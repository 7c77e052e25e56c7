"""`compute_action_metrics` as an `evaluate.Metric`; `modeling_cde.evaluation.metrics` is published beside this file."""

import datasets
import evaluate

from .metrics import compute_action_metrics

_INPUTS = """
Args:
    predictions: list of int, predicted action ids.
    references: list of int, true action ids, as many as predictions.
    objects: list of str, the object of each pair; empty strings where it is unknown.
    action_names: list of str, the name of action id i at position i.
    opposites: dict of str to str, the opposite of an action by name; leave out actions that have none.
Returns:
    n, accuracy, macro_accuracy, accuracy_by_action, accuracy_by_object, opposite_error_share, never_predicted.
"""


class ActionAccuracy(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="Accuracy of predicted actions, and the share of errors that name the opposite action.",
            citation="",
            inputs_description=_INPUTS,
            features=datasets.Features(
                {
                    "predictions": datasets.Value("int64"),
                    "references": datasets.Value("int64"),
                    "objects": datasets.Value("string"),
                }
            ),
        )

    def _compute(self, predictions, references, objects, action_names, opposites=None):
        return compute_action_metrics(predictions, references, action_names, objects, opposites)
