"""One trial tried: what goes wrong in it becomes a failure on record, not an exception."""

import errno
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgewise.core import EdgewiseError, write_json
from edgewise.studies.kinds.study import AbstractStudy
from edgewise.studies.records.seal import seal
from edgewise.studies.running.run_trial import run_trial
from edgewise.studies.running.trial import Trial, is_finished
from edgewise.train.loggers import make_loggers

Event = dict[str, Any]
OnEvent = Callable[[Event], None]

PATIENCE = 60.0
"""Seconds to wait for a trial that another process still holds."""


@dataclass(frozen=True)
class Work:
    """What the trials of a run have in common.

    Attributes:
        study: The study.
        root: Its folder.
        dataset: What its ``load`` gave; None where the worker is to load it.
        loggers: Loggers by name, beside the CSV file that there always is.

    """

    study: AbstractStudy
    root: Path
    dataset: Any = field(default=None, repr=False)
    loggers: Sequence[str] = ()


def start_event(trial: Trial) -> Event:
    """What is told when a trial begins."""
    return {"kind": "start", "trial": trial.name, "epochs": trial.study.epochs}


def attempt(trial: Trial, work: Work, on_event: OnEvent) -> Event:
    """Runs a trial unless its record is there, and tells how it ended.

    Args:
        trial: What to train.
        work: With its data.
        on_event: Called with an event after each epoch.

    Returns:
        An event: ``done``; ``failed``, with the message that ``failure.json`` has; or ``halted``
        where no other trial could succeed either, because the disk is full.

    """
    folder = trial.folder(work.root)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A worker that outlived its killed driver may still hold the trial for a moment.
        with FileLock(folder / ".lock", timeout=PATIENCE):
            if not is_finished(trial, work.root):
                _run(trial, work, on_event)
                seal(folder)
    except Timeout:
        message = (
            f"another process has held {folder} for {PATIENCE:.0f} s; stop it, and run the same "
            f"command again"
        )
        return fail(trial, work.root, message)
    except Exception as error:
        if is_full(error):
            return _halted(trial, work.root, error)
        return fail(trial, work.root, _describe(error), traceback.format_exc())
    return {"kind": "done", "trial": trial.name}


def _run(trial: Trial, work: Work, on_event: OnEvent) -> None:
    with make_loggers(work.loggers, work.root / "logs", trial.slug) as loggers:

        def report(row: dict[str, Any]) -> None:
            for log in loggers:
                log(row)
            on_event({"kind": "epoch", "trial": trial.name, **row})

        run_trial(trial, work.dataset, work.root, report)


def fail(trial: Trial, root: Path, message: str, trace: str = "") -> Event:
    """Writes why a trial failed, and tells it."""
    failure = {
        "variant": trial.variant.name,
        "subject": trial.variant.subject,
        "seed": trial.seed,
        "message": message,
        "traceback": trace,
    }
    try:
        write_json(trial.folder(root) / "failure.json", failure)
    except OSError as error:
        return _halted(trial, root, error)
    return {"kind": "failed", "trial": trial.name, "message": message}


def _halted(trial: Trial, root: Path, error: Exception) -> Event:
    return {"kind": "halted", "trial": trial.name, "message": say_full(root, error)}


def say_full(root: Path, error: Exception) -> str:
    """What to do about a folder that can't be written any more."""
    return (
        f"{root} can't be written any more ({str(error).splitlines()[0]}); what was finished is "
        f"kept: make room, and the same command goes on"
    )


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_WORDS = ("No space left on device", "Disk quota exceeded", "File too large", "Read-only file sys")


def is_full(error: BaseException) -> bool:
    """Whether a file could not be written for want of room.

    Libraries that are not written in Python say so in words only.

    Example:
        >>> is_full(OSError(28, "No space left on device")), is_full(OSError(2, "No such file"))
        (True, False)

    """
    words = any(word in str(error) for word in _WORDS)
    return words or (isinstance(error, OSError) and error.errno in _FULL)


def _describe(error: Exception) -> str:
    """The error in a sentence; want of memory with what can be done about it."""
    if isinstance(error, EdgewiseError):
        return str(error)
    if isinstance(error, MemoryError) or any(mark in str(error) for mark in _MEMORY):
        said = (str(error).splitlines() or ["no more memory"])[0]
        return f"out of memory ({said}): try fewer workers, a smaller batch_size or hidden_dim"
    return f"{type(error).__name__}: {error}"


_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
