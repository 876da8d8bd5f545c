"""What can be run: the pipelines of functions/pipelines/, or those of a folder of one's own with the jobs beside them.

Such a folder (examples/ has some) holds `pipelines/NAME.yaml` and `jobs/STAGE/NAME/`; no other file changes for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from local.functions import ROOT
from local.samples import sample_export
from orchestrator.errors import BadDefinition
from orchestrator.pipelines import Pipeline, read_pipelines


@dataclass(frozen=True)
class Offer:
    """The pipelines of this checkout; with `folder`, those of that folder instead."""

    folder: Path | None = None

    @classmethod
    def named(cls, text: str) -> tuple[Offer, str]:
        """What a model type or a folder means: the offer and the model type in it. ValueError says what is wrong."""
        try:
            return cls._named(text)
        except BadDefinition as error:
            raise ValueError(str(error)) from error

    @classmethod
    def _named(cls, text: str) -> tuple[Offer, str]:
        folder = Path(text)
        if "/" not in text and not (folder / "pipelines").is_dir():
            offer = cls()
            if text not in offer.pipelines:
                raise ValueError(f"there is no pipeline {text!r}; there are {', '.join(sorted(offer.pipelines))}")
            return offer, text
        offer = cls(folder.absolute())
        names = sorted(offer.pipelines)
        if len(names) != 1:
            raise ValueError(f"{text} must hold one pipelines/NAME.yaml, and has {', '.join(names) or 'none'}")
        return offer, names[0]

    @cached_property
    def pipelines(self) -> Mapping[str, Pipeline]:
        """The pipelines by model type; raises BadDefinition."""
        return read_pipelines(self.folder / "pipelines") if self.folder else read_pipelines()

    @property
    def jobs_dirs(self) -> tuple[Path, ...]:
        """Where job images are built from; the shipped ones are always among them."""
        return (self.folder / "jobs", ROOT / "jobs") if self.folder else (ROOT / "jobs",)

    @property
    def settings(self) -> dict[str, str]:
        """The functions' settings that differ."""
        return {"PIPELINES_DIR": str(self.folder / "pipelines")} if self.folder else {}

    def sample(self, name: str, *, draws: bool = True) -> Path:
        """The export of the sample that a pipeline runs on; the file need not be there."""
        return sample_export(name, self.pipelines[name], draws=draws)
