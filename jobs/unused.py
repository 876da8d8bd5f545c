"""Takes out of an image's packages what no job imports, while it is built: half of Vertex's client, tests, tools.

    RUN pip install ... && python /tmp/unused.py

Small images start faster. A package that is not installed is passed over, so the same line stands in every Dockerfile.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Mapping
from pathlib import Path

# Folders below site-packages, and why no job misses them. A test compares them with what the jobs import.
UNUSED: Mapping[str, str] = {
    "google/cloud/aiplatform_v1beta1": "jobs speak to aiplatform_v1",
    "google/cloud/aiplatform": "the layer above aiplatform_v1, with the packages below",
    "vertexai": "as above",
    "vertex_ray": "as above",
    "agentplatform": "as above",
    "google/genai": "as above",
    "google/cloud/bigquery": "as above",
    "google/cloud/resourcemanager_v3": "as above",
    "onnxruntime/quantization": "models are run, not converted",
    "onnxruntime/tools": "as above",
    "onnxruntime/transformers": "as above",
    "numpy/[!_]*/tests": "a package's own tests; numpy.testing needs those of numpy._core",
    "scipy/*/tests": "as above",
    "sklearn/*/tests": "as above",
    "sklearn/tests": "as above",
}


def remove(site_packages: Path) -> int:
    """Delete the folders; the bytes that they held. Safe to repeat: what is gone is passed over."""
    freed = 0
    for pattern in UNUSED:
        for folder in site_packages.glob(pattern):
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            shutil.rmtree(folder)
    return freed


if __name__ == "__main__":
    total = sum(remove(Path(path)) for path in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    print(f"took out {total / 1e6:.0f} MB that no job imports")  # noqa: T201
