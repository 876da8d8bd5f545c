"""What Vertex refuses at once about uploads of models and the aliases of their versions."""

import re
from collections.abc import Sequence
from typing import Any

from local.vertex import rules
from local.vertex.refusal import Problems

# A letter first, so that no alias looks like a version's number.
ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
PORTS = range(1, 65536)


def uploaded_model(model: Any, model_id: str, as_version: bool) -> None:
    """Refuse a model without a name or a container to serve it, and a version that asks for an id of its own."""
    problems = Problems()
    rules.display_name(problems, "model.display_name", model.display_name)
    rules.labels(problems, "model.labels", model.labels)
    if model_id and as_version:
        problems.add("model_id", "Must not be set together with parent_model.")
    elif model_id:
        rules.model_id(problems, "model_id", model_id)
    _container(problems, model.container_spec)
    if model.artifact_uri:
        rules.gcs_uri(problems, "model.artifact_uri", model.artifact_uri)
    for alias in model.version_aliases:
        _alias(problems, "model.version_aliases", alias)
    problems.refuse_if_any()


def merged_aliases(changes: Sequence[str]) -> None:
    """Refuse a change of no alias, and an alias that is none; one to remove begins with a hyphen."""
    problems = Problems()
    if not changes:
        problems.add("version_aliases", "Required field is not set.")
    for change in changes:
        _alias(problems, "version_aliases", change.removeprefix("-"))
    problems.refuse_if_any()


def _container(problems: Problems, spec: Any) -> None:
    field = "model.container_spec"
    if not spec.image_uri:
        problems.add(f"{field}.image_uri", "Required field is not set.")
    elif not re.fullmatch(rules.IMAGE_URI, spec.image_uri):
        problems.add(f"{field}.image_uri", f"The image uri is invalid: {spec.image_uri!r}")
    for name in ("predict_route", "health_route"):
        if (route := getattr(spec, name)) and not route.startswith("/"):
            problems.add(f"{field}.{name}", f"Must begin with a slash: {route!r}")
    if any(port.container_port not in PORTS for port in spec.ports):
        problems.add(f"{field}.ports", "A port must be between 1 and 65535.")
    rules.environment(problems, f"{field}.env", spec.env)


def _alias(problems: Problems, field: str, alias: str) -> None:
    if not ALIAS.fullmatch(alias):
        problems.add(field, f"An alias must match {ALIAS.pattern}: {alias!r}")
