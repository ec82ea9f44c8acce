"""How far a study is, read from its folder while it runs or after it stopped."""

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewise.core import InputError, read_json
from edgewise.studies.kinds.configure import make_study
from edgewise.studies.running.study_folder import is_driven
from edgewise.studies.running.trial import make_trial, planned
from edgewise.train.history import count_rows

STATES = ("done", "running", "waiting", "failed")


@dataclass(frozen=True)
class TrialStatus:
    """One trial that a study plans.

    Attributes:
        name: What messages call it.
        variant: What is compared.
        state: ``"done"``, ``"running"``, ``"waiting"`` or ``"failed"``.
        epoch: The last finished epoch.
        epochs: How many there are at most.
        seconds: How long it took, or has run; None where it has not begun.
        message: Why it failed.

    """

    name: str
    variant: str
    state: str
    epoch: int
    epochs: int
    seconds: float | None = None
    message: str = ""


@dataclass(frozen=True)
class StudyStatus:
    """A study as it stands.

    Attributes:
        folder: Where it lies.
        driver: Who runs it: ``driver.json``, or None.
        driven: Whether that process is alive.
        trials: Every trial that is planned.
        remaining: Seconds to the end, as far as trials so far tell; None where nothing does.
        bytes: What the folder takes on the disk.
        free: What the disk has left, bytes.
        last: The last line of the log.

    """

    folder: Path
    driver: Mapping[str, Any] | None
    driven: bool
    trials: Sequence[TrialStatus]
    remaining: float | None
    bytes: int
    free: int
    last: str

    def count(self, state: str, variant: str | None = None) -> int:
        """How many trials are in a state, of one variant or of all."""
        return sum(t.state == state and variant in (None, t.variant) for t in self.trials)

    @property
    def headline(self) -> str:
        """Who runs it, in a sentence."""
        left = len(self.trials) - self.count("done")
        if self.driven:
            who = self.driver or {}
            where = f"process {who.get('pid', '?')} on {who.get('host', 'this machine')}"
            return f"running: {where}, engine {who.get('engine', '?')}, since {who.get('started')}"
        if not left:
            return "complete: nothing is left to do"
        ended = (
            f"its driver, process {self.driver['pid']} on {self.driver['host']}, was killed"
            if self.driver
            else "no process runs it"
        )
        return f"stopped: {ended}; the command that began it goes on with {left} trials"


def read_status(folder: str | Path, now: float | None = None) -> StudyStatus:
    """Reads how far a study is; nothing is changed.

    Args:
        folder: The folder of a study.
        now: The time in seconds since 1970; None is the clock's.

    Raises:
        InputError: If the folder holds no study.

    Example:
        >>> read_status("nowhere")
        Traceback (most recent call last):
        edgewise.core.errors.InputError: nowhere holds no study: it has no config.json

    """
    folder = Path(folder)
    if not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no study: it has no config.json")
    driven, now = is_driven(folder), time.time() if now is None else now
    lines = _log_lines(folder / "logs" / "study.log")
    running = _running(lines) if driven else {}
    trials = tuple(_trial(folder, plan, running, now) for plan in _plan(folder))
    driver = folder / "driver.json"
    return StudyStatus(
        folder=folder,
        driver=read_json(driver) if driver.exists() else None,
        driven=driven,
        trials=trials,
        remaining=_remaining(trials),
        bytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
        free=shutil.disk_usage(folder).free,
        last=lines[-1] if lines else "",
    )


def _plan(folder: Path) -> list[dict[str, Any]]:
    """The planned trials; a study from before there were plans has one for each subject."""
    if (folder / "plan.json").exists():
        return read_json(folder / "plan.json")["trials"]
    values = read_json(folder / "config.json")
    values.pop("data_card", None)
    study = make_study(values, str(folder / "config.json"))
    variants = study.variants()
    return planned([make_trial(study, v, seed) for seed in range(study.seeds) for v in variants])


_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\w+) ?(.*)")


def _log_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _running(lines: Sequence[str]) -> dict[str, float]:
    """When the trials began that the log's last run has begun and not ended."""
    begun: dict[str, float] = {}
    for line in lines:
        match = _LINE.match(line)
        if not match:
            continue
        when, kind, rest = match.groups()
        if kind == "plan":
            begun = {}
        elif kind == "start":
            begun[rest] = time.mktime(time.strptime(when, "%Y-%m-%d %H:%M:%S"))
        elif kind in ("done", "failed"):
            begun.pop(rest.partition(" message=")[0], None)
    return begun


def _trial(
    root: Path, plan: Mapping[str, Any], running: Mapping[str, float], now: float
) -> TrialStatus:
    folder, name = root / plan["folder"], plan["trial"]
    epoch = count_rows(folder / "history.jsonl")
    common = {"name": name, "variant": plan["variant"], "epoch": epoch, "epochs": plan["epochs"]}
    if (folder / "record.json").exists():
        timing = folder / "timing.json"
        seconds = read_json(timing)["seconds"] if timing.exists() else None
        return TrialStatus(state="done", seconds=seconds, **common)
    if name in running:
        return TrialStatus(state="running", seconds=max(0.0, now - running[name]), **common)
    if (folder / "failure.json").exists():
        message = read_json(folder / "failure.json")["message"]
        return TrialStatus(state="failed", message=message, **common)
    return TrialStatus(state="waiting", **common)


def _remaining(trials: Sequence[TrialStatus]) -> float | None:
    """What is left of the running and waiting trials, side by side as many as run now."""
    known = {
        variant: _mean([t.seconds for t in trials if t.state == "done" and t.variant == variant])
        for variant in {t.variant for t in trials}
    }
    fallback = _mean([s for s in known.values() if s is not None])
    if fallback is None:
        # Before the first is done: what an epoch of the running ones takes.
        paces = [t.seconds / t.epoch * t.epochs for t in trials if t.state == "running" and t.epoch]
        fallback = _mean(paces)
    if fallback is None:
        return None
    left = 0.0
    for trial in trials:
        whole = known[trial.variant] or fallback
        if trial.state == "waiting":
            left += whole
        elif trial.state == "running":
            left += max(0.0, whole - (trial.seconds or 0.0))
    return left / max(1, sum(t.state == "running" for t in trials))


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None
