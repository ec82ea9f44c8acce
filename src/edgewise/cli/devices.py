"""One model on several devices: the same command in several processes, as torchrun starts them."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from edgewise.core import InputError, RunError, write_json
from edgewise.jobs.images.job import ImageJob

DRIVEN = "EDGEWISE_DRIVEN"
"""Set in processes that end when the one that started them does."""

PATIENCE = 10.0
"""Seconds that the other processes have to end by themselves when one has failed."""


def check_devices(devices: int, job: ImageJob) -> None:
    """Refuses what this machine does not have.

    Raises:
        InputError: With the number.

    """
    if devices < 1:
        raise InputError(f"--devices must be at least 1, got {devices}")
    several = devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and job.backend != "torch":
        raise InputError(f"several devices go with --backend torch only, got {job.backend!r}")
    if devices > 1 and "WORLD_SIZE" in os.environ:
        raise InputError("torchrun has started several processes already: leave --devices out")
    gpus = torch.cuda.device_count()
    if gpus and not job.cpu and devices > gpus:
        raise InputError(f"--devices {devices}, but this machine has {gpus} GPU: ask for fewer")


def train_on(devices: int, job: ImageJob, loggers: str) -> int:
    """Trains a job in several processes of this machine; the first one speaks.

    Raises:
        RunError: If a process that does not speak is lost.

    """
    with tempfile.TemporaryDirectory(prefix="edgewise-") as here:
        config = write_json(Path(here) / "job.json", job.as_dict())
        command = [sys.executable, "-m", "edgewise", "train", "--config", str(config)]
        command += ["--loggers", loggers] if loggers else []
        files = [Path(here) / f"{rank}.txt" for rank in range(devices)]
        processes = [
            _start(command, rank, devices, port, files[rank])
            for port in [_free_port()]
            for rank in range(devices)
        ]
        try:
            lost = _wait(processes)
        finally:
            for process in processes:
                process.terminate()
                process.wait()
                if process.stdin:
                    process.stdin.close()
        if lost is None or lost == 0:
            return max(0, processes[0].returncode)
        said = files[lost].read_text(encoding="utf-8", errors="replace").splitlines()
        raise RunError(
            f"process {lost + 1} of {devices} ended with status {processes[lost].returncode}"
            f"{': ' + said[-1] if said else ''}; the same command goes on"
        )


def _start(command: Sequence[str], rank: int, devices: int, port: int, says: Path):
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // devices))
    # DistributedDataParallel warns that it looks for parameters without a gradient.
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    environment = (
        quiet
        | os.environ
        | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(devices),
            "LOCAL_WORLD_SIZE": str(devices),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": threads,
            DRIVEN: "1",
        }
    )
    with open(says, "wb") as silent:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=None if rank == 0 else subprocess.DEVNULL,
            stderr=None if rank == 0 else silent,
            # Ctrl-C is for the process in front, which ends the others and says so once.
            start_new_session=True,
        )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _wait(processes: Sequence[subprocess.Popen]) -> int | None:
    """Waits for all; the number of the first that failed, or None."""
    lost, until = None, float("inf")
    while any(p.poll() is None for p in processes) and time.monotonic() < until:
        for rank, process in enumerate(processes):
            if lost is None and process.poll():
                lost, until = rank, time.monotonic() + PATIENCE
        time.sleep(0.1)
    failed = [rank for rank, process in enumerate(processes) if process.poll()]
    # The first one speaks for itself: where it says what is wrong, that is what counts.
    if 0 in failed and processes[0].returncode > 0:
        return 0
    return failed[0] if lost is None and failed else lost


def end_with_parent() -> None:
    """Ends this process when the one that started it is gone, however that happens."""
    if DRIVEN not in os.environ:
        return

    def watch() -> None:
        # Not through sys.stdin, whose lock would be held when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
