"""The engine for a cluster: trials as Ray Core tasks, on this machine or on many."""

import contextlib
import os
import secrets
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, ClassVar

import torch

from edgewise.core import InputError, RunError, keep_freed_memory, require, write_atomically
from edgewise.studies.kinds.study import AbstractStudy
from edgewise.studies.running.attempt import Event, OnEvent, Work, attempt, fail, start_event
from edgewise.studies.running.trial import Trial
from edgewise.train.history import count_rows, read_history

POLL = 0.5
"""Seconds between two looks at what the running trials have written."""

GIB = 1 << 30


@dataclass(frozen=True)
class RayEngine:
    """Runs trials on a Ray cluster (extra ``ray``), as many at a time as its nodes have room for.

    Edgewise must be installed on every node; the data travel from here. A node that sees the
    study's folder (a shared file system) writes into it, and a trial that is lost with its node
    goes on from its last epoch; from a node that does not, a trial's files come back when it ends.

    Args:
        address: The cluster, as `ray.init` takes it: ``"auto"``, host:port, ``"ray://…"``. None is
            $RAY_ADDRESS, else a cluster on this machine for as long as the study runs.
        cpus: Cores of a trial, and its threads; one gives the same numbers as the local engine.
        gpus: GPUs of a trial; a part of one is allowed.
        memory: GiB that a trial needs; 0 asks for none.
        retries: How often a trial that is lost with its worker or node is tried again at once.

    Raises:
        InputError: If a number makes no sense.

    """

    name: ClassVar[str] = "ray"

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory: float = 0.0
    retries: int = 2

    def __post_init__(self) -> None:
        if not self.cpus > 0:
            raise InputError(f"cpus must be above 0, got {self.cpus!r}")
        for key in ("gpus", "memory", "retries"):
            if not getattr(self, key) >= 0:
                raise InputError(f"{key} must be at least 0, got {getattr(self, key)!r}")

    @property
    def needs(self) -> dict[str, float]:
        """What a trial takes of a node, in Ray's words; memory in bytes."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory * GIB}
        return {name: amount for name, amount in asked.items() if amount}

    @contextlib.contextmanager
    def ready(self, study: AbstractStudy) -> Iterator[None]:
        """Connects; refuses trials that no node could run."""
        if study.device.startswith("cuda") and not self.gpus:
            raise InputError(
                f"device is {study.device!r}, but a trial gets no GPU: give --gpus 1, or a part of "
                f"one"
            )
        with _connected(self.address) as ray:
            if not _slots(ray, self.needs):
                raise InputError(
                    f"no node of the Ray cluster has room for a trial of {_say(self.needs)}: the "
                    f"largest has {_say(_largest(ray))}"
                )
            yield

    def run(self, trials: Sequence[Trial], work: Work, on_event: OnEvent) -> None:
        """Runs the trials."""
        if trials:
            _Crew(self, require("ray", "ray"), work, on_event).run(trials)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Ray, connected; what was connected before stays so."""
    ray = require("ray", "ray")
    if ray.is_initialized():
        yield ray
        return
    # Neither usage reports nor a warning about GPUs that were not asked for.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    options: dict[str, Any] = {"address": address} if address else {"include_dashboard": False}
    try:
        ray.init(**options, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"at {address!r}" if address else "and none could be started here"
        raise InputError(
            f"no Ray cluster answers {where} ({str(error).splitlines()[0]}): start one with `ray "
            f"start --head`, or leave --address out"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _nodes(ray: ModuleType) -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _slots(ray: ModuleType, needs: dict[str, float]) -> int:
    """How many trials the living nodes have room for."""
    return sum(
        # A hair more, as 1 / 0.1 may be 9.99…
        int(min(node.get(name, 0) / amount for name, amount in needs.items()) + 1e-9)
        for node in _nodes(ray)
    )


def _largest(ray: ModuleType) -> dict[str, float]:
    names = ("CPU", "GPU", "memory")
    return {name: max((node.get(name, 0) for node in _nodes(ray)), default=0) for name in names}


def _say(amounts: dict[str, float]) -> str:
    words = {
        "CPU": lambda n: f"{n:g} CPU",
        "GPU": lambda n: f"{n:g} GPU",
        "memory": lambda n: f"{n / GIB:.1f} GiB",
    }
    return ", ".join(words[name](amount) for name, amount in amounts.items())


@dataclass
class _Job:
    """A trial that was handed to Ray, and how many of its epochs were told of."""

    trial: Trial
    told: int
    history: Path = field(repr=False)


class _Crew:
    """Hands trials to Ray as there is room, tells what they do, and takes back their files."""

    def __init__(self, engine: RayEngine, ray: ModuleType, work: Work, on_event: OnEvent) -> None:
        self.engine, self.ray, self.on_event = engine, ray, on_event
        self.root = work.root.absolute()
        self.token = secrets.token_hex(16)
        # In a list Ray hands the reference on, and a worker fetches the data once.
        self.data = [ray.put(work.dataset)]
        self.work = replace(work, root=self.root, dataset=None)
        self.waiting: deque[Trial] = deque()
        self.running: dict[Any, _Job] = {}
        self.lost: dict[str, int] = {}
        self.task = ray.remote(_try).options(
            num_cpus=engine.cpus,
            num_gpus=engine.gpus,
            memory=int(engine.memory * GIB) or None,
            # Counted, logged and limited here.
            max_retries=0,
            scheduling_strategy="SPREAD",
        )

    def run(self, trials: Sequence[Trial]) -> None:
        self.waiting.extend(trials)
        sign = write_atomically(self.root / ".driver", self.token)
        try:
            while self.waiting or self.running:
                self._hand_out()
                ready, _ = self.ray.wait(list(self.running), timeout=POLL)
                for job in self.running.values():
                    self._tell_epochs(job)
                for reference in ready:
                    self._finish(reference)
        finally:
            for reference in self.running:
                self.ray.cancel(reference, force=True)
            sign.unlink(missing_ok=True)

    def _hand_out(self) -> None:
        room = _slots(self.ray, self.engine.needs)
        if not room and not self.running:
            raise RunError(
                "the nodes that could run a trial have left the Ray cluster; what was finished is "
                "kept, and the same command goes on"
            )
        while self.waiting and len(self.running) < room:
            trial = self.waiting.popleft()
            history = trial.folder(self.root) / "history.jsonl"
            reference = self.task.remote(trial, self.work, self.data, self.token, self._threads())
            self.running[reference] = _Job(trial, count_rows(history), history)
            if not self.lost.get(trial.name):
                self.on_event(start_event(trial))

    def _threads(self) -> int:
        return max(1, int(self.engine.cpus))

    def _tell_epochs(self, job: _Job) -> None:
        """Tells the epochs that a trial has finished since; seen in a folder that is shared."""
        if count_rows(job.history) > job.told:
            for row in read_history(job.history)[job.told :]:
                self.on_event({"kind": "epoch", "trial": job.trial.name, **row})
                job.told += 1

    def _finish(self, reference: Any) -> None:
        job = self.running.pop(reference)
        try:
            event, files = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            event, files = self._mourn(job.trial, error), {}
        _unpack(files, self.root)
        self._tell_epochs(job)
        self.on_event(event)

    def _mourn(self, trial: Trial, error: Exception) -> Event:
        """What becomes of a trial that was lost with its worker: once more, or a failure."""
        message = f"the worker was lost: {_reason(self.ray, error)}"
        self.lost[trial.name] = self.lost.get(trial.name, 0) + 1
        if self.lost[trial.name] > self.engine.retries:
            return fail(trial, self.root, message, str(error))
        self.waiting.appendleft(trial)
        return {"kind": "lost", "trial": trial.name, "message": message}


def _reason(ray: ModuleType, error: Exception) -> str:
    """Ray's paragraphs in a few words."""
    if isinstance(error, ray.exceptions.RayTaskError):
        error = error.cause
    known = {
        "OutOfMemoryError": "its node ran out of memory; give a trial more --memory or --cpus",
        "NodeDiedError": "its node died",
        "WorkerCrashedError": "its process was killed or crashed, or its node died",
    }
    for name, words in known.items():
        if isinstance(error, getattr(ray.exceptions, name)):
            return words
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _unpack(files: dict[str, bytes], root: Path) -> None:
    """Writes what came back from a node that does not see the folder, the record last."""
    for name in sorted(files, key=lambda name: name.endswith("record.json")):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise RunError(f"a node sent the file {name!r}, which would leave {root}")
        write_atomically(root / path, files[name])
        if path.name == "record.json":
            (root / path.parent / "failure.json").unlink(missing_ok=True)


def _try(
    trial: Trial, work: Work, data: list[Any], token: str, threads: int
) -> tuple[Event, dict[str, bytes]]:
    """The task, on its node: the trial's last event, and its files where they must be sent."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    work = replace(work, dataset=_fetched(data[0]))
    if _sees(work.root, token):
        return attempt(trial, work, lambda event: None), {}
    with tempfile.TemporaryDirectory(prefix="edgewise-") as here:
        event = attempt(trial, replace(work, root=Path(here)), lambda event: None)
        return event, _packed(Path(here))


def _sees(root: Path, token: str) -> bool:
    """Whether this node sees the driver's folder, and not another of the same name."""
    sign = root / ".driver"
    return sign.exists() and sign.read_text(encoding="utf-8") == token


def _packed(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Any:
    """The data, kept by the worker for its next trial."""
    import ray  # this runs on a node of the cluster

    return ray.get(reference)
