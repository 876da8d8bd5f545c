"""What AutoML Image takes for each objective: model types, and their budgets in milli node hours. Pure.

gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_image_classification_1.0.0.yaml
gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_image_object_detection_1.0.0.yaml
"""

from __future__ import annotations

from collections.abc import Mapping

Budget = tuple[int, int]

_MOBILE: Mapping[str, Budget] = dict.fromkeys(
    (f"MOBILE_TF_{size}_1" for size in ("LOW_LATENCY", "VERSATILE", "HIGH_ACCURACY")), (1_000, 100_000)
)
_CLASSIFIERS = {"CLOUD": (8_000, 800_000), "CLOUD_1": (8_000, 800_000), **_MOBILE}
BUDGETS: Mapping[str, Mapping[str, Budget]] = {
    "single_label_classification": _CLASSIFIERS,
    "multi_label_classification": _CLASSIFIERS,
    "object_detection": {
        "CLOUD_HIGH_ACCURACY_1": (20_000, 900_000),
        "CLOUD_LOW_LATENCY_1": (20_000, 900_000),
        **_MOBILE,
    },
}


def budget_problem(objective: str, model_type: str, budget: int) -> str | None:
    """Why Vertex would refuse this budget, as a sentence for the user; None for one that it takes, and for a model
    type that is not known here."""
    least, most = BUDGETS[objective].get(model_type, (budget, budget))
    if least <= budget <= most:
        return None
    return f"{model_type} takes a budget of {least} to {most} milli node hours, not {budget}"
