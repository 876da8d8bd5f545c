"""The questions' classes: who answered what on which image, and which classes can be trained."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from jobkit.arguments import Arguments
from jobkit.classification import POLICIES, AnswerReader, Verdict, comma_list, multiple_choice, single_choice
from jobkit.dataset_report import MAX_IDS, ClassEntry, DatasetReport
from jobkit.export import ExportRow
from jobkit.image.drafts import Draft
from jobkit.image.limits import TWINS, Counts, Limits, advice, check, kept_labels
from jobkit.image.merging import MergedImages
from jobkit.ontology import (
    CHOICE_KINDS,
    DROPDOWN,
    RADIO,
    Ontology,
    Question,
    choose_options,
    choose_question,
    display_names,
)
from jobkit.splits import SPLITS


def chosen_questions(ontology: Ontology, wanted: str, multi_label: bool) -> tuple[Question, ...]:
    """One radio question; for several classes an image the named ones (comma separated), by default all with options.

    The answers of a checklist, a radio and a dropdown are then classes alike. Raises BadConfiguration.
    """
    if not multi_label:
        return (choose_question(ontology, wanted, (RADIO, DROPDOWN)),)
    asked = comma_list(wanted)
    if asked:
        return tuple(dict.fromkeys(choose_question(ontology, name) for name in asked))
    offered = tuple(question for question in ontology.questions if question.kind in CHOICE_KINDS)
    return offered if len(offered) > 1 else (choose_question(ontology, ""),)


class ImageChoices:
    """The classes of each picture. First every row is judged, then the images are collected, then the classes kept."""

    def __init__(
        self, questions: Sequence[Question], arguments: Arguments, limits: Limits, *, multi_label: bool
    ) -> None:
        self.images = MergedImages()
        self._limits = replace(limits, min_labels=1) if multi_label else limits
        self._multi_label = multi_label
        self._question_of = {
            option.feature_schema_id: question for question in questions for option in question.options
        }
        everything = Question("", ", ".join(one.name for one in questions), "", sum((q.options for q in questions), ()))
        self._options = {
            option.feature_schema_id: option
            for option in choose_options(everything, comma_list(arguments.text("classes")))
        }
        self._names = display_names(everything.options)
        self._reader = AnswerReader(*questions)
        self._policy = arguments.one_of("several-labels", POLICIES)
        self._minimum = arguments.whole("minimum-examples", least=1)
        self._strict = arguments.flag("strict-classes")
        self._not_chosen: Counter[str] = Counter()
        self._several = 0

    def judge(self, row: ExportRow) -> Verdict:
        """What the row's labels say together. An answer that was not asked for is passed over; where a row has one
        answer, the row then does not count as labelled."""
        choice = multiple_choice if self._multi_label else single_choice
        verdict = choice(row, self._reader, self._policy)
        self._several += verdict.several
        if not verdict.labelled:
            return verdict
        chosen = tuple(option for option in verdict.options if option in self._options)
        self._not_chosen.update(option for option in verdict.options if option not in self._options)
        if not self._multi_label and not chosen:
            return Verdict(labelled=False, reason="class_not_chosen", several=verdict.several)
        return verdict._replace(options=chosen)

    def collect(self, drafts: Iterable[Draft]) -> None:
        """Notes the images of labelled rows."""
        for draft in drafts:
            if draft.labelled:
                self.images.add(draft.image.sha256, draft.split, draft.options)

    def keep(self, report: DatasetReport) -> Mapping[str, str]:
        """Option id -> display name of the classes that are trained; says so in the report. Raises BadData."""
        counts = {self._names[option]: splits for option, splits in self.images.counts().items()}
        asked = (self._names[option] for option in self._options)
        kept, report.left_out = kept_labels(counts, asked, self._minimum, self._limits)
        names = {option: self._names[option] for option in self._options if self._names[option] in kept}
        images = self.images.trained(names)
        twin = TWINS[self._multi_label]
        check(counts, kept, report.left_out, self._strict, self._limits, images, twin, self._minimum)
        report.left_out.update({self._names[option]: count for option, count in self._not_chosen.items()})
        report.classes = tuple(self._entry(key, name) for key, name in names.items())
        self._note(report, counts, kept)
        return names

    def _entry(self, option: str, name: str) -> ClassEntry:
        question, named = self._question_of[option], self._options[option]
        return ClassEntry(
            name, option, named.name, question.feature_schema_id, question.kind, question.name, named.value
        )

    def _note(self, report: DatasetReport, counts: Counts, kept: tuple[str, ...]) -> None:
        report.notes += advice(counts, kept)
        for name in kept:
            gaps = [split for split in SPLITS if not counts[name].get(split)]
            if gaps:
                report.notes.append(f"'{name}' has no image in {' and '.join(gaps)}")
        if self._several:
            report.notes.append(f"{self._several} rows had several labels (rule: {self._policy})")
        for name, count in sorted(self._reader.unknown.items()):
            report.notes.append(f"the answer '{name}' ({count}) is not in the ontology")
        disputed = sum(1 for _ in self.images.disputed())
        if disputed:
            report.notes.append(f"{disputed} images were left out: rows with the same bytes have different labels")
        crossed = list(self.images.across_splits())
        if crossed:
            report.duplicates = {"count": len(crossed), "sha256": crossed[:MAX_IDS]}
            report.notes.append(
                f"{len(crossed)} images are in several splits; each is used once: in test, else in validation"
            )
