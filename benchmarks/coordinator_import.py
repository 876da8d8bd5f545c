"""What importing the coordinator costs: CPU seconds and peak memory of a fresh process, and what it must not import.

    .venv/bin/python benchmarks/coordinator_import.py

Limits: 0.8 s of CPU, 90 MB, neither google.cloud.aiplatform nor labelbox. Exits 1 beyond them.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 5
CPU_LIMIT_S, MEMORY_LIMIT_MB = 0.8, 90.0
CHILD = """
import json, sys, time
import main
hwm = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
heavy = [name for name in ("google.cloud.aiplatform", "google.cloud.aiplatform_v1", "labelbox") if name in sys.modules]
print(json.dumps({"cpu_s": time.process_time(), "memory_mb": int(hwm.split()[1]) / 1024, "heavy": heavy}))
"""
ENVIRONMENT = {
    "GOOGLE_CLOUD_PROJECT": "p",
    "REGION": "us-central1",
    "DEPLOYMENT_NAME": "d",
    "BUCKET": "b",
    "JOB_SERVICE_ACCOUNT": "s",
    "IMAGE_REPOSITORY": "i",
    "LABELBOX_API_KEY": "k",
    "SERVICE_SECRET": "s",
}


def main() -> int:
    """Measure after one warm-up run, print the medians, and say whether they are within the limits."""
    environment = {**os.environ, **ENVIRONMENT}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    readings = []
    for _ in range(RUNS + 1):
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            cwd=ROOT / "functions",
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        readings.append(json.loads(done.stdout.splitlines()[-1]))
    measured = readings[1:]
    cpu_s = statistics.median(item["cpu_s"] for item in measured)
    memory_mb = statistics.median(item["memory_mb"] for item in measured)
    heavy = measured[0]["heavy"]
    limits = f"limits {CPU_LIMIT_S} s and {MEMORY_LIMIT_MB:.0f} MB"
    print(f"import of the coordinator: {cpu_s:.2f} s CPU, {memory_mb:.0f} MB ({limits})")
    print(f"heavy packages imported: {', '.join(heavy) or 'none'}")
    return 0 if cpu_s <= CPU_LIMIT_S and memory_mb <= MEMORY_LIMIT_MB and not heavy else 1


if __name__ == "__main__":
    sys.exit(main())
