"""From labelers' entities to one set of entities a row: located, matched to the ontology by id, agreed on. Pure."""

from collections import Counter
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

from jobkit.classification import FIRST, SKIP, answers_below
from jobkit.export import ExportRow, Label, ObjectAnnotation
from jobkit.ner.spans import CODE_POINTS, Entity, Located, Units, locate, unit_of, without_overlaps
from jobkit.ontology import Tool

ENTITY_TOOL = "named-entity"
DUPLICATE = "duplicate"
OVERLAPPING = "overlap"
UNUSABLE = "no_usable_entity"
SEVERAL = "several_labels"
UNLABELLED = "unlabelled"


class RowEntities(NamedTuple):  # one is made for each row: a third of a dataclass's time
    """What a row's labels say together. An entity's `name` is its tool's feature schema id here.

    note      why the row is only predicted; "" when it is labelled (without an entity: a true negative)
    skipped   the reason of each entity that is not used
    unit      what Labelbox's offsets count in this text, as far as its labels tell
    wide      the text holds characters that are two UTF-16 units, so that the unit matters
    nested    answers below entities: kept for people, not trained on
    """

    entities: tuple[Entity, ...] = ()
    note: str = ""
    skipped: tuple[str, ...] = ()
    unit: str = ""
    wide: bool = False
    nested: Sequence[dict[str, Any]] = ()


class EntityReader:
    """Reads the entities of rows."""

    def __init__(self, tools: Sequence[Tool], chosen: Container[str], policy: str) -> None:
        self._known = {tool.feature_schema_id for tool in tools}
        self._by_name = {tool.name: tool.feature_schema_id for tool in reversed(tools)}
        self._chosen = chosen
        self._policy = policy
        self.unknown: Counter[str] = Counter()  # entities that the ontology no longer has, by name
        self.not_chosen: Counter[str] = Counter()  # by feature schema id
        self.several = 0  # rows with several labels

    def read(self, row: ExportRow, text: str) -> RowEntities:
        """The row's entities by the policy for several labels."""
        labels = [label for label in row.labels if not label.skipped]
        units = Units(text)
        if not labels:
            return RowEntities(note=UNLABELLED, wide=units.wide)
        self.several += len(labels) > 1
        wanted = [self._wanted(label) for label in labels]
        located = [[locate(text, one.body.get("location"), units) for one, _ in pairs] for pairs in wanted]
        unit = unit_of([one for each in located for one in each]) if units.wide else ""
        votes, skipped = [], []
        for pairs, places in zip(wanted, located, strict=True):
            vote, reasons = _vote(pairs, places, unit or CODE_POINTS)
            skipped += reasons
            if vote is not None:
                votes.append(vote)
        entities, note = self._agreed(votes)
        final, _, overlaps = without_overlaps(entities)
        skipped += [OVERLAPPING] * overlaps
        nested = [
            one
            for pairs in wanted
            for annotation, _ in pairs
            if annotation.classifications
            for one in answers_below(annotation.feature_schema_id or annotation.name, annotation.classifications)
        ]
        return RowEntities(final, note, tuple(skipped), unit, units.wide, nested)

    def _wanted(self, label: Label) -> list[tuple[ObjectAnnotation, str]]:
        """The label's annotations of the chosen tools, with their feature schema ids."""
        found = []
        chosen, by_name = self._chosen, self._by_name
        for annotation in label.objects:
            key = annotation.feature_schema_id or by_name.get(annotation.name, "")
            if key in chosen:
                found.append((annotation, key))
            elif key in self._known:
                self.not_chosen[key] += 1
            elif annotation.kind in ("", "TextEntity"):
                self.unknown[annotation.name or key] += 1
        return found

    def _agreed(self, votes: Sequence[Sequence[Entity]]) -> tuple[list[Entity], str]:
        """One set of entities out of several labels: an entity that more than half of them have stands."""
        if not votes:
            return [], UNUSABLE
        if len(votes) == 1 or self._policy == FIRST:
            return list(votes[0]), ""
        if self._policy == SKIP:
            return [], SEVERAL
        counts = Counter(entity for vote in votes for entity in vote)
        return [entity for entity, count in counts.items() if count * 2 > len(votes)], ""


def _vote(
    pairs: Sequence[tuple[ObjectAnnotation, str]], places: Sequence[Located], unit: str
) -> tuple[list[Entity] | None, list[str]]:
    """(a label's distinct entities, reasons of those not used). None when the label has entities but none that can be
    used: it is no sign that the text has none."""
    found: dict[Entity, None] = {}
    skipped = []
    for (_, tool), place in zip(pairs, places, strict=True):
        span = place.span(unit)
        if span is None:
            skipped.append(place.reason)
            continue
        entity = Entity(span[0], span[1], tool)
        if entity in found:
            skipped.append(DUPLICATE)
        else:
            found[entity] = None
    return (None if skipped and not found else [*found]), skipped
