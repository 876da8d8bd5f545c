"""Which accelerators a machine type takes, so that a pair that cannot be is refused before anything is launched.

Facts: https://cloud.google.com/vertex-ai/docs/training/configure-compute and
https://cloud.google.com/compute/docs/gpus. Families that this table does not name are left to Vertex to judge.
"""

from __future__ import annotations

# N1 machines take GPUs as one adds them; each may have these numbers of them.
_ADDED = {
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_P4": (1, 2, 4),
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
}
_ON_G2 = {"4": 1, "8": 1, "12": 1, "16": 1, "32": 1, "24": 2, "48": 4, "96": 8}  # by vCPUs
# Machines that come with their GPUs; the number is in the name: a2-highgpu-2g has two.
_BUILT_IN = {
    "a2-highgpu": "NVIDIA_TESLA_A100",
    "a2-megagpu": "NVIDIA_TESLA_A100",
    "a2-ultragpu": "NVIDIA_A100_80GB",
    "a3-highgpu": "NVIDIA_H100_80GB",
    "a3-megagpu": "NVIDIA_H100_MEGA_80GB",
    "a3-ultragpu": "NVIDIA_H200_141GB",
}
_WITHOUT = ("e2", "n2", "n2d", "n4", "c2", "c2d", "c3", "c3d", "c4", "t2d", "m1", "m2", "m3")


def built_in(machine: str) -> tuple[str, int] | None:
    """The (accelerator, number) that a machine type comes with; None where it comes with none, or is not known."""
    kind, _, size = machine.rpartition("-")
    if kind == "g2-standard" and size in _ON_G2:
        return "NVIDIA_L4", _ON_G2[size]
    number = size.removesuffix("g")
    if kind in _BUILT_IN and number.isdigit():
        return _BUILT_IN[kind], int(number)
    return None


def fit_problem(machine: str, accelerator: str, count: int) -> str | None:
    """Why the machine cannot have these accelerators (none: "" and 0), as a sentence for the user; None if it can."""
    has = f"{count} {accelerator}" if accelerator else "no accelerator"
    family = machine.partition("-")[0]
    if (own := built_in(machine)) is not None:
        if (accelerator, count) == own:
            return None
        return f"machine {machine} comes with {own[1]} {own[0]}: set accelerator and its count so, not to {has}"
    if not accelerator:
        return None
    if family == "n1" and count not in _ADDED.get(accelerator, ()):
        allowed = ", ".join(f"{name} ({', '.join(map(str, counts))})" for name, counts in _ADDED.items())
        return f"machine {machine} cannot have {has}; N1 machines take {allowed}"
    if family in _WITHOUT:
        fitting = _machines_for(accelerator)
        return f"machine {machine} takes no accelerator" + (f"; {accelerator} fits {fitting}" if fitting else "")
    return None


def _machines_for(accelerator: str) -> str:
    if accelerator in _ADDED:
        return "n1-standard-4 and the like"
    if accelerator == "NVIDIA_L4":
        return "g2-standard-8 and the like"
    return " and ".join(f"{kind} machines" for kind, name in _BUILT_IN.items() if name == accelerator)
