"""The servers of the image jobs' tests, and exports of drawn scenes."""

from tests.jobs.image.conftest import folder, serve, started, storage, storage_server, vertex, vertex_server

__all__ = ["folder", "serve", "started", "storage", "storage_server", "vertex", "vertex_server"]
