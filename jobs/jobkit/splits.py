"""The three parts of a data set: Labelbox's words for them, Vertex's words, and a split made by hash."""

import hashlib

TRAINING = "training"
VALIDATION = "validation"
TEST = "test"
UNASSIGNED = "unassigned"
SPLITS = (TRAINING, VALIDATION, TEST)

ML_USE = "aiplatform.googleapis.com/ml_use"  # Vertex's label of a data item; its values are exactly SPLITS

_WORDS = {
    "TRAIN": TRAINING,
    "TRAINING": TRAINING,
    "VALID": VALIDATION,
    "VALIDATE": VALIDATION,
    "VALIDATION": VALIDATION,
    "TEST": TEST,
    "TESTING": TEST,
    "UNASSIGNED": UNASSIGNED,
}


def parse_split(word: object) -> str | None:
    """Our word for Labelbox's (any case); None when the export does not say anything that we know."""
    return _WORDS.get(word.strip().upper()) if isinstance(word, str) else None


def hash_split(key: str, validation_percent: int = 10, test_percent: int = 10) -> str:
    """A split that depends on the row's key alone: the same row is always in the same part, in every run."""
    share = int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") % 100
    if share < test_percent:
        return TEST
    return VALIDATION if share < test_percent + validation_percent else TRAINING
