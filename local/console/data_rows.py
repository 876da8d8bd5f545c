"""Data rows as the page shows them, out of an export or out of a run's manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from local.console.annotations import Annotations, of_export, of_manifest

SPLITS = ("training", "validation", "test", "unassigned")
_SPLIT_WORDS = {"train": "training", "valid": "validation"}
_WEB = ("http://", "https://")
_MOST_TEXT = 20_000  # characters shown; Labelbox itself takes 64,000
_STORED_IMAGE = re.compile(r"gs://[^/]+/images/([0-9a-f]{16,128}\.[a-z0-9]{1,5})")


@dataclass(frozen=True)
class DataRow:
    """One data row: its text, or the address of its image. `label` is None where nobody labelled it; `others` counts
    the labels beside the first one."""

    id: str
    name: str
    split: str
    text: str = ""
    image: str = ""
    width: float = 0
    height: float = 0
    label: Annotations | None = None
    others: int = 0


def split_of(body: Mapping[str, Any]) -> str:
    """The split that a model run of an export row names (it is read at two places), one of SPLITS."""
    word = str(body.get("split") or body.get("data_split") or "unassigned").lower()
    word = _SPLIT_WORDS.get(word, word)
    return word if word in SPLITS else "unassigned"


def of_export_row(row: Mapping[str, Any], body: Mapping[str, Any], source: str, folder: Path) -> DataRow:
    """A row of an export with its labels in one model run (`body`). Files that it names lie below `folder`."""
    data, media = row["data_row"], row.get("media_attributes") or {}
    content = str(data.get("row_data") or "")
    is_image = media.get("asset_type") == "image" or str(media.get("mime_type") or "").startswith("image/")
    labels = body.get("labels") or []
    return DataRow(
        id=str(data["id"]),
        name=str(data.get("global_key") or data.get("external_id") or data["id"]),
        split=split_of(body),
        text="" if is_image else _text(content, folder),
        image=_address(content, source) if is_image else "",
        width=float(media.get("width") or 0),
        height=float(media.get("height") or 0),
        label=of_export(labels[0].get("annotations") or {}) if labels else None,
        others=max(0, len(labels) - 1),
    )


def of_manifest_row(row: Mapping[str, Any]) -> DataRow:
    """A row of a manifest: an image's bytes lie in the bucket."""
    content, details = str(row.get("content") or ""), row.get("details") or {}
    stored = _STORED_IMAGE.fullmatch(content)
    return DataRow(
        id=str(row["data_row_id"]),
        name=str(row.get("global_key") or row["data_row_id"]),
        split=split_of(row),
        text="" if stored else content[:_MOST_TEXT],
        image=f"/images/{stored[1]}" if stored else "",
        width=float(details.get("width") or 0),
        height=float(details.get("height") or 0),
        label=of_manifest(row) if row.get("labelled") else None,
    )


def _address(content: str, source: str) -> str:
    """Of an image: where it is on the web, or below this page's own /files/."""
    return content if content.startswith(_WEB) else f"/files/{quote(source)}/{quote(content, safe='/%')}"


def _text(content: str, folder: Path) -> str:
    if not content.startswith("files/"):
        return content[:_MOST_TEXT]
    path = file_below(folder, content)
    return path.read_text(encoding="utf-8", errors="replace")[:_MOST_TEXT] if path else content


def file_below(folder: Path, name: str) -> Path | None:
    """The file that an export names beside itself; None for what is not there, or leads out of the folder's files/."""
    allowed = (folder / "files").resolve()
    path = (folder / unquote(name)).resolve()
    return path if path.is_relative_to(allowed) and path.is_file() else None
