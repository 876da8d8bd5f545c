"""From what each word was taken for to entities with their confidence. Pure.

The confidence of an entity is the least sure of what it rests on: that each of its words belongs to it, and that the
next one does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jobkit.ner.spans import Entity
from jobkit.ner.tokens import Place, snapped

OUTSIDE = "O"


def begin(number: int) -> str:
    """The tag of an entity's first word; tags hold the class's number, for its name may be anything."""
    return f"B{number}"


def inside(number: int) -> str:
    """The tag of an entity's other words."""
    return f"I{number}"


def all_tags(classes: int) -> tuple[str, ...]:
    """Every tag, in the order of a network's numbers: outside, then begin and inside of each class."""
    return (OUTSIDE, *(tag for number in range(classes) for tag in (begin(number), inside(number))))


def tags_of(spans: list[Place], entities: Sequence[Entity], numbers: dict[str, int]) -> list[str]:
    """The tag of each word; an entity that begins or ends within a word takes the whole word."""
    tags = [OUTSIDE] * len(spans)
    for entity in entities:
        first, after = snapped(entity.start, entity.end, spans)
        number = numbers[entity.name]
        for index in range(first, after):
            tags[index] = begin(number) if index == first else inside(number)
    return tags


@dataclass(frozen=True, slots=True)
class Word:
    """What one word was taken for. `own` is how sure its tag is; `goes_on` how likely it continues class `number`'s
    entity before it."""

    tag: str
    own: float
    goes_on: dict[str, float]


NOTHING = Word(OUTSIDE, 1.0, {})


def assembled(spans: Sequence[Place], words: Sequence[Word], classes: Sequence[str]) -> list[Entity]:
    """The entities that the words make up, in the text's order."""
    found: list[Entity] = []
    index = 0
    while index < len(words):
        if words[index].tag == OUTSIDE:
            index += 1
            continue
        first, number = index, words[index].tag[1:]
        sure = words[index].own
        index += 1
        while index < len(words) and words[index].tag == f"I{number}":
            sure = min(sure, words[index].own)
            index += 1
        if index < len(words):
            sure = min(sure, 1.0 - words[index].goes_on.get(f"I{number}", 0.0))
        found.append(Entity(spans[first][0], spans[index - 1][1], classes[int(number)], min(max(sure, 0.0), 1.0)))
    return found
