"""The question's classes: who answered what on which image, and which classes Vertex can train."""

from collections.abc import Iterable, Mapping

from jobkit.arguments import Arguments
from jobkit.classification import POLICIES, AnswerReader, Verdict, comma_list, single_choice
from jobkit.dataset_report import MAX_IDS, ClassEntry, DatasetReport
from jobkit.export import ExportRow
from jobkit.image_drafts import Draft
from jobkit.image_limits import Counts, advice, check, kept_labels
from jobkit.image_merging import MergedImages
from jobkit.ontology import Question, choose_options, display_names
from jobkit.splits import SPLITS


class ImageChoices:
    """One answer a picture. First every row is judged, then the images are collected, then the classes are kept."""

    def __init__(self, question: Question, arguments: Arguments) -> None:
        self.images = MergedImages()
        self._question = question
        self._options = {
            option.feature_schema_id: option
            for option in choose_options(question, comma_list(arguments.text("classes")))
        }
        self._names = display_names(question.options)
        self._reader = AnswerReader(question)
        self._policy = arguments.one_of("several-labels", POLICIES)
        self._minimum = arguments.whole("minimum-examples", least=1)
        self._strict = arguments.flag("strict-classes")
        self._several = 0

    def judge(self, row: ExportRow) -> Verdict:
        """What the row's labels say together; an option that was not asked for makes it count as not labelled."""
        verdict = single_choice(row, self._reader, self._policy)
        self._several += verdict.several
        if verdict.labelled and not all(option in self._options for option in verdict.options):
            return Verdict(labelled=False, reason="class_not_chosen", several=verdict.several)
        return verdict

    def collect(self, drafts: Iterable[Draft]) -> None:
        """Notes the images of labelled rows."""
        for draft in drafts:
            if draft.labelled:
                self.images.add(draft.image.sha256, draft.split, draft.options)

    def keep(self, report: DatasetReport) -> Mapping[str, str]:
        """Option id -> display name of the classes that are trained; says so in the report. Raises BadData."""
        counts = {self._names[option]: splits for option, splits in self.images.counts().items()}
        kept, report.left_out = kept_labels(counts, (self._names[option] for option in self._options), self._minimum)
        check(counts, kept, report.left_out, self._strict)
        names = {option: self._names[option] for option in self._options if self._names[option] in kept}
        report.classes = tuple(
            ClassEntry(name, key, self._options[key].name, self._question.feature_schema_id, self._question.kind)
            for key, name in names.items()
        )
        self._note(report, counts, kept)
        return names

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
