"""Logs of Vertex jobs: files on this machine, or Cloud Logging."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from ops.errors import NotFound
from ops.google_rest import GoogleRest

_LOGGING = "logging.googleapis.com"
_PAGE = 1000


class JobLogs(Protocol):
    """Where the lines of a job are."""

    def lines(self, job_number: str, most: int) -> list[str]:
        """The newest lines of a job, oldest first. NotFound if there is no log."""

    def place(self, job_number: str) -> str:
        """Where a person finds the whole log: a path or a link."""


class LocalJobLogs:
    """The Vertex stand-in's files, `<job number>.log`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lines(self, job_number: str, most: int) -> list[str]:
        """See JobLogs."""
        try:
            text = Path(self.place(job_number)).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise NotFound(f"There is no log of job {job_number}", "it may not have begun yet: look again") from error
        return text.splitlines()[-most:]

    def place(self, job_number: str) -> str:
        """See JobLogs."""
        return str(self._folder / f"{job_number}.log")


class CloudJobLogs:
    """Cloud Logging's entries of a job (https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list)."""

    def __init__(self, project: str, rest: GoogleRest) -> None:
        self._project, self._rest = project, rest

    @staticmethod
    def _filter(job_number: str) -> str:
        return f'resource.type="ml_job" resource.labels.job_id="{job_number}"'

    def lines(self, job_number: str, most: int) -> list[str]:
        """See JobLogs."""
        body: dict[str, Any] = {
            "resourceNames": [f"projects/{self._project}"],
            "filter": self._filter(job_number),
            "orderBy": "timestamp desc",
            "pageSize": min(most, _PAGE),
        }
        found: list[str] = []
        while len(found) < most:
            answer = self._rest.post(_LOGGING, "v2/entries:list", body) or {}
            found += [_line(entry) for entry in answer.get("entries", [])]
            if not answer.get("nextPageToken"):
                break
            body["pageToken"] = answer["nextPageToken"]
        if not found:
            raise NotFound(f"Cloud Logging has no line of job {job_number}", "entries take a minute to arrive")
        return found[:most][::-1]

    def place(self, job_number: str) -> str:
        """See JobLogs."""
        query = quote(self._filter(job_number), safe="")
        return f"https://console.cloud.google.com/logs/query;query={query}?project={self._project}"


def _line(entry: dict[str, Any]) -> str:
    payload = entry.get("jsonPayload") or {}
    text = entry.get("textPayload") or payload.get("message") or str(payload)
    return f"{entry.get('timestamp', '')} {entry.get('severity', '')} {str(text).rstrip()}"
