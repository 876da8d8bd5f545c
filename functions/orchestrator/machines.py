"""Which accelerators a machine type takes, so that a pair that cannot be is refused before anything is launched.

Google's pages: https://cloud.google.com/vertex-ai/docs/training/configure-compute and
https://cloud.google.com/compute/docs/gpus. Neither could be opened where this was written. The names are those of
AcceleratorType in google-cloud-aiplatform 2.7; the rows are those that SkyPilot takes from the second page
(sky/catalog/gcp_catalog.py of skypilot-org/skypilot on GitHub, read on 2026-11-28). Families and sizes that these
tables do not name are left to Vertex to judge.
"""

from __future__ import annotations

# N1 machines take GPUs as one adds them: by how many there are, the most vCPUs that the machine may have.
ADDED = {
    "NVIDIA_TESLA_T4": {1: 48, 2: 48, 4: 96},
    "NVIDIA_TESLA_P4": {1: 24, 2: 48, 4: 96},
    "NVIDIA_TESLA_P100": {1: 16, 2: 32, 4: 96},
    "NVIDIA_TESLA_V100": {1: 12, 2: 24, 4: 48, 8: 96},
}
# Machines that come with their GPUs.
BUILT_IN = {
    **{f"g2-standard-{vcpus}": ("NVIDIA_L4", 1) for vcpus in (4, 8, 12, 16, 32)},
    "g2-standard-24": ("NVIDIA_L4", 2),
    "g2-standard-48": ("NVIDIA_L4", 4),
    "g2-standard-96": ("NVIDIA_L4", 8),
    **{f"a2-highgpu-{count}g": ("NVIDIA_TESLA_A100", count) for count in (1, 2, 4, 8)},
    "a2-megagpu-16g": ("NVIDIA_TESLA_A100", 16),
    **{f"a2-ultragpu-{count}g": ("NVIDIA_A100_80GB", count) for count in (1, 2, 4, 8)},
    **{f"a3-highgpu-{count}g": ("NVIDIA_H100_80GB", count) for count in (1, 2, 4, 8)},
    "a3-megagpu-8g": ("NVIDIA_H100_MEGA_80GB", 8),
    "a3-ultragpu-8g": ("NVIDIA_H200_141GB", 8),
    "a4-highgpu-8g": ("NVIDIA_B200", 8),
}
_WITHOUT = ("e2", "n2", "n2d", "n4", "c2", "c2d", "c3", "c3d", "c4", "t2d", "m1", "m2", "m3")


def fit_problem(machine: str, accelerator: str, count: int) -> str | None:
    """Why the machine cannot have these accelerators (none: "" and 0), as a sentence for the user; None if it can."""
    has = f"{count} {accelerator}" if accelerator else "no accelerator"
    family, _, size = machine.partition("-")
    if (own := BUILT_IN.get(machine)) is not None:
        if (accelerator, count) == own:
            return None
        return f"machine {machine} comes with {own[1]} {own[0]}: set accelerator and its count so, not to {has}"
    if not accelerator:
        return None
    if family == "n1":
        return _added_problem(machine, size.rpartition("-")[2], accelerator, count)
    if family in _WITHOUT:
        fitting = _machines_for(accelerator)
        return f"machine {machine} takes no accelerator" + (f"; {accelerator} fits {fitting}" if fitting else "")
    return None


def _added_problem(machine: str, vcpus: str, accelerator: str, count: int) -> str | None:
    most = ADDED.get(accelerator, {}).get(count)
    if most is None:
        allowed = ", ".join(f"{name} ({', '.join(map(str, counts))})" for name, counts in ADDED.items())
        return f"machine {machine} cannot have {count} {accelerator}; N1 machines take {allowed}"
    if vcpus.isdigit() and int(vcpus) > most:
        return f"machine {machine} is too large for {count} {accelerator}, which N1 machines take up to {most} vCPUs"
    return None


def _machines_for(accelerator: str) -> str:
    if accelerator in ADDED:
        return "n1-standard-4 and the like"
    return " and ".join(machine for machine, (name, _) in BUILT_IN.items() if name == accelerator)
