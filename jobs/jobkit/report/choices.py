"""Rows of a classification to look at: what was chosen by people and by the model, beside the text or the picture."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from html import escape

from jobkit.report.gallery import (
    HITS,
    MISTAKES,
    SUSPECT_CONFIDENCE,
    SUSPECTS,
    UNCERTAIN,
    Example,
    Judgement,
    Look,
    Pictures,
)
from jobkit.report.page import MAX_TEXT, short

MAX_CLASSES_SHOWN = 8
MAX_CLASS_NAME = 60


@dataclass(frozen=True)
class Choice:
    """One row. `content` is a text's beginning or an image's uri."""

    content: str
    truth: tuple[str, ...]
    said: tuple[tuple[str, float], ...]


def judged_choice(
    truth: Collection[str], answers: Mapping[str, float], decided: Collection[str], *, single: bool
) -> Judgement:
    """`answers` is class -> confidence, empty where there is no prediction; `decided` are those that the model says."""
    right = set(truth) == set(decided)
    wrong = max((answers.get(name, 0.0) for name in decided if name not in truth), default=0.0)
    return Judgement(
        mistake=None if right else (wrong,),
        hit=right and bool(decided),
        sureness=_sureness(answers, single=single) if answers else None,
        dissent=max((answers[name] for name in answers if name not in truth), default=None),
    )


def _sureness(answers: Mapping[str, float], *, single: bool) -> float:
    if single:
        return max(answers.values())
    return min(abs(confidence - 0.5) for confidence in answers.values())


def choice(content: str, truth: Collection[str], answers: Mapping[str, float], decided: Collection[str]) -> Choice:
    """What is kept of a row: a bounded number of classes and letters."""
    said = decided or sorted(answers, key=lambda name: (-answers[name], name))[:1]
    return Choice(
        short(content, MAX_TEXT),
        tuple(sorted(truth))[: MAX_CLASSES_SHOWN + 1],
        tuple((name, answers.get(name, 0.0)) for name in list(said)[: MAX_CLASSES_SHOWN + 1]),
    )


def choice_look(pictures: Pictures | None, *, single: bool) -> Look[Choice]:
    """Without `pictures`, contents are texts."""
    unsure = "the least sure best answer" if single else "an answer nearest to 0.5"
    rules = {
        MISTAKES: " that are not wholly right, those with the surest wrong answer first.",
        UNCERTAIN: f", those with {unsure} first; right or wrong.",
        HITS: " that are wholly right, drawn by a hash of their data row id.",
        SUSPECTS: f" of any split where the model gives at least {SUSPECT_CONFIDENCE:g} to a class that nobody chose, "
        "the surest first. The model may be wrong, or the label.",
    }
    cut = pictures.rule if pictures else f"Texts are cut to {MAX_TEXT} characters."
    return Look(rules, lambda example: _shown(example, pictures), f'<p class="note">{escape(cut)}</p>')


def _shown(example: Example[Choice], pictures: Pictures | None) -> tuple[str, str]:
    seen, text, shown = example.seen, "", ""
    if pictures is None:
        text = f"<p>{escape(seen.content) or '(empty text)'}</p>"
    elif data := pictures.of(seen.content):
        words = f"Image of data row {example.data_row_id}"
        shown = f'<img src="{escape(data)}" alt="{escape(words)}" width="96" height="96">'
    labelled = _names(seen.truth) or "(none)"
    said = _names(f"{short(name, MAX_CLASS_NAME)} {confidence:.2f}" for name, confidence in seen.said) or "(nothing)"
    return shown, (f"{text}<p>label: <strong>{escape(labelled)}</strong></p><p>model: {escape(said)}</p>")


def _names(names: Iterable[str]) -> str:
    listed = [short(name, MAX_CLASS_NAME + 6) for name in names]
    more = ["…"] if len(listed) > MAX_CLASSES_SHOWN else []
    return ", ".join([*listed[:MAX_CLASSES_SHOWN], *more])
