"""From labelers' answers to classes: one question's answers on a row, whatever its kind. Pure.

Answers are matched by feature schema id, so spaces, renamed options, equal names under two questions and values that
differ from labels do no harm. An export without ids is matched by name.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from jobkit.export import Answer, Classification, ExportRow, Label
from jobkit.ontology import Question

MAJORITY = "majority"
FIRST = "first"
SKIP = "skip"
POLICIES = (MAJORITY, FIRST, SKIP)


class Verdict(NamedTuple):  # one is made for each row: a third of a dataclass's time
    """What a row's labels say together.

    labelled   somebody labelled the row, and the labels agree as far as the policy asks
    options    feature schema ids of the chosen options, sorted; empty = looked at, nothing ticked
    reason     why a row with labels does not count as labelled; "" otherwise
    several    the row had more than one label with an answer
    """

    labelled: bool
    options: tuple[str, ...] = ()
    reason: str = ""
    several: bool = False


class AnswerReader:
    """Reads the answers to one question, or to several that count together, out of labels."""

    def __init__(self, *questions: Question) -> None:
        self._by_id = {question.feature_schema_id: question for question in questions}
        self._by_name = {question.value: question for question in reversed(questions)}
        self._by_name.update({question.name: question for question in reversed(questions)})
        self._known = {option.feature_schema_id for question in questions for option in question.options}
        self._called = {question.feature_schema_id: _by_words(question) for question in questions}
        self.unknown: Counter[str] = Counter()  # answers that the ontology no longer has, by name

    def options(self, label: Label) -> tuple[str, ...] | None:
        """Ids of the options chosen in the label, sorted; None when the label answers none of the questions."""
        found = ((self._question(entry), entry) for entry in label.classifications)
        answered = [(question, entry) for question, entry in found if question is not None]
        if not answered:
            return None
        chosen = set()
        for question, entry in answered:
            for answer in entry.answers:
                option = self._option(question, answer)
                if option is None:
                    self.unknown[answer.name] += 1
                else:
                    chosen.add(option)
        return tuple(sorted(chosen))

    def _question(self, entry: Classification) -> Question | None:
        if entry.feature_schema_id:
            return self._by_id.get(entry.feature_schema_id)
        return self._by_name.get(entry.name)

    def _option(self, question: Question, answer: Answer) -> str | None:
        if answer.feature_schema_id:
            return answer.feature_schema_id if answer.feature_schema_id in self._known else None
        called = self._called[question.feature_schema_id]
        return called.get(answer.name) or called.get(answer.value)


def _by_words(question: Question) -> dict[str, str]:
    """Name or value -> id of the question's options; a name goes before a value, the first before its equals."""
    called = {option.value: option.feature_schema_id for option in reversed(question.options)}
    called.update({option.name: option.feature_schema_id for option in reversed(question.options)})
    return called


def single_choice(row: ExportRow, reader: AnswerReader, policy: str) -> Verdict:
    """Exactly one option for the row, or why not. Labels that leave the question unanswered have no vote."""
    votes = []
    for label in row.labels:
        options = None if label.skipped else reader.options(label)
        if options:
            votes.append(options)
    if not votes:
        return Verdict(labelled=False)
    verdict = _agree(votes, policy)
    if verdict.labelled and len(verdict.options) > 1:
        return Verdict(labelled=False, reason="several_answers", several=verdict.several)
    return verdict


def multiple_choice(row: ExportRow, reader: AnswerReader, policy: str) -> Verdict:
    """The ticked options of the row. A label without a tick is a true negative: somebody looked and found none."""
    votes = [reader.options(label) or () for label in row.labels if not label.skipped]
    if not votes:
        return Verdict(labelled=False)
    if policy != MAJORITY or len(votes) == 1:
        return _agree(votes, policy)
    ticks = Counter(option for vote in votes for option in vote)
    options = tuple(sorted(option for option, count in ticks.items() if count * 2 > len(votes)))
    return Verdict(labelled=True, options=options, several=True)


def _agree(votes: Sequence[tuple[str, ...]], policy: str) -> Verdict:
    """One answer out of several labels; a tie has no majority."""
    several = len(votes) > 1
    if policy == FIRST or not several:
        return Verdict(labelled=True, options=votes[0], several=several)
    if policy == SKIP:
        return Verdict(labelled=False, reason="several_labels", several=True)
    (winner, most), *others = Counter(votes).most_common()
    if others and others[0][1] == most:
        return Verdict(labelled=False, reason="labels_disagree", several=True)
    return Verdict(labelled=True, options=winner, several=True)


def nested_answers(row: ExportRow) -> Iterator[dict[str, Any]]:
    """What the labels answered below an answer, however deep: kept for people, not trained on."""
    for label in row.labels:
        for entry in label.classifications:
            for answer in entry.answers:
                yield from answers_below(answer.feature_schema_id or answer.name, answer.classifications)


def answers_below(under: str, asked: Iterable[Classification]) -> Iterator[dict[str, Any]]:
    """The answers to questions below the answer or the object `under`, and those below these, as plain JSON."""
    for entry in asked:
        yield {
            "under": under,
            "question": entry.feature_schema_id or entry.name,
            "answers": [answer.feature_schema_id or answer.name for answer in entry.answers],
            **({"text": entry.text} if entry.text is not None else {}),
        }
        for answer in entry.answers:
            yield from answers_below(answer.feature_schema_id or answer.name, answer.classifications)


def comma_list(text: str, names: Iterable[str] = ()) -> tuple[str, ...]:
    """The words of a comma-separated parameter. Those of `names` that hold commas themselves are found whole, the
    longest first."""
    with_commas = {name.strip() for name in names if "," in name}
    longest = max((name.count(",") + 1 for name in with_commas), default=1)
    parts = text.split(",")
    words = []
    while parts:
        joined = (",".join(parts[:size]).strip() for size in range(min(longest, len(parts)), 1, -1))
        word = next((one for one in joined if one in with_commas), parts[0].strip())
        del parts[: word.count(",") + 1]
        words.append(word)
    return tuple(word for word in words if word)


def kept_classes(counts: Iterable[tuple[str, int]], minimum: int) -> tuple[tuple[str, ...], dict[str, int]]:
    """(classes with at least `minimum` training rows, the others with their counts)."""
    pairs = list(counts)
    kept = tuple(name for name, count in pairs if count >= max(minimum, 1))
    return kept, {name: count for name, count in pairs if count < max(minimum, 1)}
