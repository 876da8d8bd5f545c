"""The versions of models on record: numbers that count up, aliases that name one version each, one default a model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import grpc
from google.cloud import aiplatform_v1

from local.vertex.kinds import proto_codec
from local.vertex.names import MODEL_VERSIONS
from local.vertex.refusal import Refused
from local.vertex.store import Store, Table

DEFAULT = "default"


class ModelVersions:
    """Two tables kept in step: every version under `models/M@N`, and under `models/M` a copy of the default one.

    Each change is one transaction, so a model has exactly one default for everybody who reads it.
    """

    def __init__(self, store: Store, models: Table[Any]) -> None:
        self._store = store
        self._models = models
        self._table: Table[Any] = Table(store, MODEL_VERSIONS, proto_codec(aiplatform_v1.Model))

    def add_first(self, model: Any, notes: Mapping[str, str]) -> None:
        """Add a model with its first version; refuse a name that exists."""
        with self._store.transaction():
            self._models.add(model.name, model, {"newest": 1, **notes})
            self._table.add(_key(model), _keyed(model))

    def add_next(self, name: str, make: Callable[[str], Any], aliases: Iterable[str]) -> Any:
        """Add the next version of a model, which takes `aliases` from whichever has them; refuse an unknown model."""
        with self._store.transaction():
            self._models.get(name)
            number = self._models.notes(name)["newest"] + 1  # a deleted version's number is not given again
            self._models.note(name, newest=number)
            model = make(str(number))
            self._table.add(_key(model), _keyed(model))
            return self.merge(name, model.version_id, list(aliases))

    def find(self, name: str, version: str) -> Any:
        """Return the version of this number or alias; refuse one that does not exist."""
        with self._store.transaction():
            self._models.get(name)
            for model in self.listed(name):
                if version == model.version_id or version in model.version_aliases:
                    return _plain(model)
        raise Refused(grpc.StatusCode.NOT_FOUND, f"The model {name} does not have a version or alias {version!r}.")

    def listed(self, name: str, lag_s: float = 0.0) -> Sequence[Any]:
        """Return a model's versions, newest first, as a list showed them `lag_s` seconds ago; refuse an unknown one."""
        self._models.get(name)
        return [model for model in self._table.listed(lag_s) if model.name.startswith(f"{name}@")]

    def merge(self, name: str, number: str, changes: Sequence[str]) -> Any:
        """Add and remove (`-alias`) aliases of a version, and return it; added and removed at once is no change."""
        removed = {change[1:] for change in changes if change.startswith("-")}
        added = {change for change in changes if not change.startswith("-")} - removed
        removed -= set(changes)
        with self._store.transaction():
            version = self.find(name, number)
            if DEFAULT in removed & set(version.version_aliases):
                text = "The default alias cannot be removed; add it to another version instead."
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, text)
            for other in self.listed(name):
                mine = other.version_id == version.version_id
                kept = set(other.version_aliases) - (removed if mine else added) | (added if mine else set())
                if kept != set(other.version_aliases):
                    self._name(other, kept)
            default = self.find(name, DEFAULT)
            self._models.change(name, lambda model: _become(model, default))
            return self.find(name, number)

    def delete(self, name: str, number: str) -> None:
        """Delete a version; refuse the default one, the only one and one that is deployed, as Vertex does."""
        with self._store.transaction():
            version = self.find(name, number)
            if len(self.listed(name)) == 1:
                text = "The only version of a model cannot be deleted; delete the model instead."
                raise Refused(grpc.StatusCode.FAILED_PRECONDITION, text)
            if DEFAULT in version.version_aliases:
                text = "The default version of a model cannot be deleted; make another version the default first."
                raise Refused(grpc.StatusCode.FAILED_PRECONDITION, text)
            _refuse_deployed(version)
            self._table.delete(_key(version))

    def delete_all(self, name: str) -> None:
        """Delete a model with all its versions; refuse an unknown one, and one of which a version is deployed."""
        with self._store.transaction():
            for version in self.listed(name):
                _refuse_deployed(version)
                self._table.delete(version.name)
            self._models.delete(name)

    def _name(self, version: Any, aliases: Iterable[str]) -> None:
        def rename(model: Any) -> None:
            model.version_aliases = sorted(aliases)

        self._table.change(version.name, rename)


def _refuse_deployed(version: Any) -> None:
    if version.deployed_models:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, f"{version.name} is deployed to an endpoint; undeploy it.")


def _key(model: Any) -> str:
    return f"{model.name}@{model.version_id}"


def _keyed(model: Any) -> Any:
    """The version as it is kept and listed: its name ends with its number."""
    kept = aiplatform_v1.Model(model)
    kept.name = _key(model)
    return kept


def _plain(model: Any) -> Any:
    found = aiplatform_v1.Model(model)
    found.name = model.name.partition("@")[0]
    return found


def _become(model: Any, other: Any) -> bool:
    """Make a model read as another version of it; says whether that changes anything."""
    if model == other:
        return False
    type(model).copy_from(model, other)
    return True
