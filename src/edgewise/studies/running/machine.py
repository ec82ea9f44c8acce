"""What a trial cost this machine: peak memory, and where it ran."""

from pathlib import Path

import torch

from edgewise.core import give_back_memory


def forget_peak_memory(device: str) -> None:
    """Starts the count of peak memory anew for this trial, where the system can."""
    give_back_memory()  # what an earlier trial of this process left is no part of this one
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: str) -> int | None:
    """Bytes: of the GPU's allocator, else of this process (Linux; elsewhere it is not known)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``"cpu"``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
