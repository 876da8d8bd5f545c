"""The only door of the jobs to Cloud Storage: gs:// objects in and out, streamed, with errors that say what to do."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from google.api_core import exceptions as google_errors
from google.auth import exceptions as auth_errors
from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import exceptions as requests_errors

from jobkit.errors import BadConfiguration, PermissionRefused, Transient

TIMEOUT_S = 60.0
# Every write below is safe to repeat: the same job writes the same bytes to a name of its own attempt.
RETRY = DEFAULT_RETRY.with_timeout(180.0)


def split_uri(uri: str) -> tuple[str, str]:
    """("bucket", "object/name") of a gs:// uri; BadConfiguration for anything else."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    if not uri.startswith("gs://") or not bucket:
        raise BadConfiguration(f"'{uri[:120]}' is not a gs://bucket/object address.")
    return bucket, name


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Turns Google's errors into the tree of jobkit.errors."""
    try:
        yield
    except google_errors.NotFound as error:
        raise BadConfiguration(f"{uri} does not exist.") from error
    except (google_errors.Forbidden, google_errors.Unauthorized, auth_errors.DefaultCredentialsError) as error:
        hint = "Grant the job's service account access to the bucket."
        raise PermissionRefused(f"The job's account may not use {uri}.", hint) from error
    except (
        google_errors.ServerError,
        google_errors.TooManyRequests,
        google_errors.RetryError,
        auth_errors.TransportError,
        requests_errors.ConnectionError,
        requests_errors.Timeout,
    ) as error:
        raise Transient(f"Cloud Storage did not answer for {uri}.") from error


class LineWriter:
    """Writes lines to a file on disk, which is uploaded once when all are written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def write(self, line: str | bytes) -> None:
        """Appends one line, as text or in UTF-8; `line` must not hold a line feed of its own."""
        self._file.write((line.encode("utf-8") if isinstance(line, str) else line) + b"\n")
        self.count += 1


class Storage:
    """Reads and writes gs:// objects. STORAGE_EMULATOR_HOST, when set, is honoured by Google's own client."""

    def __init__(self, client: Client | None = None) -> None:
        if client is None:
            with _translated("Cloud Storage"):
                client = Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT"))
        self._client = client

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    @property
    def client(self) -> Client:
        """Google's client, for what needs its address and credentials."""
        return self._client

    def _blob(self, uri: str) -> Any:
        bucket, name = split_uri(uri)
        return self._client.bucket(bucket).blob(name)

    def read_bytes(self, uri: str) -> bytes:
        """The whole object; for objects known to be small."""
        with _translated(uri):
            content: bytes = self._blob(uri).download_as_bytes(timeout=TIMEOUT_S, retry=RETRY)
            return content

    def read_text(self, uri: str) -> str:
        """The whole object as UTF-8."""
        return self.read_bytes(uri).decode("utf-8")

    def read_lines(self, uri: str, *, damaged: bool = False) -> Iterator[str]:
        """The object's lines, without their line feed. Splits on "\\n" only: U+2028 and "\\r" belong to the text.
        What is not UTF-8 raises UnicodeDecodeError; with `damaged` it becomes U+FFFD, and costs no other line.

        The object is copied to disk first, so that memory stays flat and a slow reader holds no connection.
        """
        with tempfile.TemporaryFile() as file:
            with _translated(uri):
                self._blob(uri).download_to_file(file, timeout=TIMEOUT_S, retry=RETRY)
            file.seek(0)
            for line in file:
                yield line.removesuffix(b"\n").decode("utf-8", "replace" if damaged else "strict")

    def write_text(self, uri: str, text: str, content_type: str = "application/json") -> None:
        """Writes the object whole."""
        self.write_bytes(uri, text.encode("utf-8"), content_type)

    def write_bytes(self, uri: str, content: bytes, content_type: str = "application/octet-stream") -> None:
        """Writes the object whole."""
        with _translated(uri):
            self._blob(uri).upload_from_string(content, content_type=content_type, timeout=TIMEOUT_S, retry=RETRY)

    @contextmanager
    def line_writer(self, uri: str, content_type: str = "application/x-ndjson") -> Iterator[LineWriter]:
        """A writer whose lines become the object when the block ends well; nothing is written when it raises."""
        with tempfile.TemporaryFile() as file:
            yield LineWriter(file)
            file.flush()
            file.seek(0)
            with _translated(uri):
                self._blob(uri).upload_from_file(file, content_type=content_type, timeout=TIMEOUT_S, retry=RETRY)

    def upload_file(self, path: str | Path, uri: str, content_type: str | None = None) -> None:
        """Copies a local file to the object."""
        with _translated(uri):
            self._blob(uri).upload_from_filename(str(path), content_type=content_type, timeout=TIMEOUT_S, retry=RETRY)

    def download(self, uri: str, path: str | Path) -> None:
        """Copies the object to a local file."""
        with _translated(uri):
            self._blob(uri).download_to_filename(str(path), timeout=TIMEOUT_S, retry=RETRY)

    def list(self, prefix_uri: str) -> Iterator[str]:
        """The uris of all objects whose name starts so, in the order of their names."""
        bucket, prefix = split_uri(prefix_uri)
        with _translated(prefix_uri):
            for blob in self._client.list_blobs(bucket, prefix=prefix, timeout=TIMEOUT_S, retry=RETRY):
                yield f"gs://{bucket}/{blob.name}"

    def exists(self, uri: str) -> bool:
        """Whether the object is there."""
        with _translated(uri):
            return bool(self._blob(uri).exists(timeout=TIMEOUT_S, retry=RETRY))

    def size(self, uri: str) -> int:
        """The object's size in bytes; BadConfiguration when it is not there."""
        with _translated(uri):
            blob = self._blob(uri)
            blob.reload(timeout=TIMEOUT_S, retry=RETRY)
            return int(blob.size)
