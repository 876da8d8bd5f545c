"""Cloud Storage in memory for benchmarks of the orchestrator: the few requests that it and the quick jobs make.

    python -m benchmarks.object_server PORT [PROJECT TOPIC PUBSUB_HOST]

The embedded cloud's storage takes 11 ms of processor to write a file, and in memory the longer the more objects it
holds; a list walks the whole bucket. Here both cost what they find, so that it is the functions that are measured.
Creates are honoured as Cloud Storage does: of several with ifGenerationMatch=0 one wins. With a topic every new object
is announced there.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote

from local.gcs import StorageServer

PAGE, LAST = 1000, "\U0010ffff"
BATCH = 100
Answer = tuple[int, bytes]
Announce = Callable[[str, str, int], None]


class ObjectServer(StorageServer):
    """This module as the storage of an embedded cloud."""

    def _command(self, events: list[str]) -> list[str | Path]:
        words: list[str | Path] = [sys.executable, "-m", "benchmarks.object_server", str(self.port)]
        if events:
            given = dict(zip(events[::2], events[1::2], strict=True))
            words += [given["-event.pubsub-project-id"], given["-event.pubsub-topic"], self._pubsub_host or ""]
        return words


@dataclass(frozen=True)
class Stored:
    """An object."""

    data: bytes
    created: str
    generation: int


class Objects:
    """Buckets of objects with their names in order."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._buckets: dict[str, tuple[dict[str, Stored], list[str]]] = {}
        self._generation = 0

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        """The status and the body that answer a request."""
        path, _, query = target.partition("?")
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        parts = path.strip("/").split("/")
        if parts[:3] == ["upload", "storage", "v1"] and method == "POST":
            return self._upload(parts[4], asked, headers, body)
        if parts[:3] != ["storage", "v1", "b"]:
            return 404, b"Not Found"
        if len(parts) == 3:
            if method == "POST":
                self._buckets.setdefault(json.loads(body)["name"], ({}, []))
            return 200, b"{}"
        if parts[3] not in self._buckets:
            return 404, b"Not Found"
        if len(parts) == 5:
            return 200, json.dumps(self._page(parts[3], asked)).encode()
        return self._object(method, parts[3], unquote(parts[5]), asked)

    def _upload(self, bucket: str, asked: dict[str, str], headers: dict[str, str], body: bytes) -> Answer:
        if bucket not in self._buckets:
            return 404, b"Not Found"
        name, data = asked.get("name", ""), body
        if asked["uploadType"] == "multipart":
            edge = b"--" + headers["content-type"].partition("boundary=")[2].strip("\"'").encode()
            _, about, content, _ = (part.partition(b"\r\n\r\n")[2] for part in body.split(edge, 3))
            name, data = json.loads(about)["name"], content.removesuffix(b"\r\n")
        objects, names = self._buckets[bucket]
        if name in objects and asked.get("ifGenerationMatch") == "0":
            return 412, b'{"error": {"code": 412}}'
        if name not in objects:
            insort(names, name)
        self._generation = max(self._generation + 1, time.time_ns() // 1000)
        objects[name] = Stored(data, datetime.now(UTC).isoformat().replace("+00:00", "Z"), self._generation)
        self._announce(bucket, name, self._generation)
        return 200, json.dumps({"name": name, "generation": str(self._generation)}).encode()

    def _object(self, method: str, bucket: str, name: str, asked: dict[str, str]) -> Answer:
        objects, names = self._buckets[bucket]
        if name not in objects:
            return 404, b"Not Found"
        if method == "DELETE":
            del objects[name], names[bisect_left(names, name)]
            return 204, b""
        if asked.get("alt") == "media":
            return 200, objects[name].data
        return 200, json.dumps({"name": name, "size": str(len(objects[name].data))}).encode()

    def _page(self, bucket: str, asked: dict[str, str]) -> dict[str, object]:
        objects, names = self._buckets[bucket]
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        items: list[dict[str, str]] = []
        folders: list[str] = []
        at = bisect_left(names, max(prefix, asked.get("pageToken", "")))
        while at < len(names) and names[at].startswith(prefix):
            if len(items) + len(folders) == PAGE:
                return {"items": items, "prefixes": folders, "nextPageToken": names[at]}
            rest = names[at][len(prefix) :]
            if delimiter and delimiter in rest:
                folders.append(prefix + rest[: rest.index(delimiter) + 1])
                at = bisect_left(names, folders[-1] + LAST)
            else:
                items.append({"name": names[at], "timeCreated": objects[names[at]].created})
                at += 1
        return {"items": items, "prefixes": folders}


class Connection(asyncio.Protocol):
    """One client: HTTP/1.1, kept alive, bodies with a Content-Length."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, rest = self._buffer.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            method, target, _ = first.split(" ")
            status, body = self._objects.answer(method, target, headers, rest[:length])
            said = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
            self._transport.write(said.encode() + body)


def announcer(project: str, topic: str, host: str) -> Announce:
    """Publishes what appears from a thread of its own, many at a time."""
    import grpc
    from google.pubsub_v1 import PublisherClient, types
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    client = PublisherClient(transport=PublisherGrpcTransport(channel=grpc.insecure_channel(host)))
    appeared: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()

    def publish() -> None:
        while True:
            found = [appeared.get()]
            while len(found) < BATCH and not appeared.empty():
                found.append(appeared.get())
            messages = [types.PubsubMessage(data=b"{}", attributes=attributes) for attributes in found]
            client.publish(request={"topic": f"projects/{project}/topics/{topic}", "messages": messages}, timeout=30)

    threading.Thread(target=publish, daemon=True).start()

    def announce(bucket: str, name: str, generation: int) -> None:
        about = {"bucketId": bucket, "objectId": name, "objectGeneration": str(generation)}
        appeared.put({"eventType": "OBJECT_FINALIZE", "payloadFormat": "JSON_API_V1", **about})

    return announce


async def serve(port: int, announce: Announce) -> None:
    """Serve for ever."""
    objects = Objects(announce)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(objects), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), announcer(*sys.argv[2:5]) if len(sys.argv) > 2 else lambda *_: None))
