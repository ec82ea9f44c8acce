"""The local engine: trials in this process, or several at a time in processes of this machine."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import ClassVar

import torch

from edgewise.core import InputError, keep_freed_memory
from edgewise.studies.kinds.study import AbstractStudy, check_device
from edgewise.studies.running.attempt import Event, OnEvent, Work, attempt, fail, start_event
from edgewise.studies.running.trial import Trial


@dataclass(frozen=True)
class LocalEngine:
    """Runs trials on this machine; the study's ``workers`` says how many at a time.

    Args:
        threads: Threads of a worker. By default one: the same numbers on every machine. 0 divides
            the cores of the machine among the workers. With ``workers=0`` None leaves torch's own.
        retries: How often a trial whose process died is tried again at once.

    Raises:
        InputError: If a number is negative.

    """

    name: ClassVar[str] = "local"

    threads: int | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        for key in ("threads", "retries"):
            value = getattr(self, key)
            if value is not None and value < 0:
                raise InputError(f"{key} must be at least 0, got {value!r}")

    @contextlib.contextmanager
    def ready(self, study: AbstractStudy) -> Iterator[None]:
        """Refuses a device that this machine does not have."""
        check_device(study.device)
        yield

    def run(self, trials: Sequence[Trial], work: Work, on_event: OnEvent) -> None:
        """Runs the trials."""
        workers = min(work.study.workers, len(trials))
        if work.study.workers == 0:
            with _threads(self._share(1) if self.threads is not None else None):
                for trial in trials:
                    on_event(start_event(trial))
                    on_event(attempt(trial, work, on_event))
        elif trials:
            threads = 1 if self.threads is None else self._share(workers)
            # Each worker loads the data itself: it costs less than sending them through a pipe.
            _Team(replace(work, dataset=None), workers, threads, self.retries, on_event).run(trials)

    def _share(self, workers: int) -> int:
        return self.threads or max(1, (os.cpu_count() or 1) // workers)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Inside, torch has so many threads; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class _Worker:
    """A process that runs trials one after the other, and what it is at."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    trial: Trial | None = None


class _Team:
    """Hands trials to processes; one that dies costs its own trial only."""

    def __init__(
        self, work: Work, size: int, threads: int, retries: int, on_event: OnEvent
    ) -> None:
        self.work, self.threads, self.retries = work, threads, retries
        self.on_event = on_event
        self.lost: dict[str, int] = {}
        self.waiting: deque[Trial] = deque()
        self.workers = [self._start() for _ in range(size)]

    def run(self, trials: Sequence[Trial]) -> None:
        self.waiting.extend(trials)
        try:
            for worker in self.workers:
                self._hand_out(worker)
            while busy := [w for w in self.workers if w.trial is not None]:
                for ready in wait([w.connection for w in busy]):
                    self._listen(next(w for w in busy if w.connection is ready))
        finally:
            for worker in self.workers:
                worker.connection.close()
                worker.process.terminate()
                worker.process.join()

    def _start(self) -> _Worker:
        # Spawned, not forked: torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self.work, self.threads), daemon=True
        )
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _hand_out(self, worker: _Worker) -> None:
        worker.trial = self.waiting.popleft() if self.waiting else None
        if worker.trial is None:
            return
        # One that died meanwhile does not take it; the loop then hears of its end.
        with contextlib.suppress(ConnectionError):
            worker.connection.send(worker.trial)
        if not self.lost.get(worker.trial.name):
            self.on_event(start_event(worker.trial))

    def _listen(self, worker: _Worker) -> None:
        """Takes one message of a worker, and gives it more to do if it is done."""
        try:
            event = worker.connection.recv()
        except (EOFError, ConnectionError):
            event = self._bury(worker)
        self.on_event(event)
        if event["kind"] != "epoch":
            self._hand_out(worker)

    def _bury(self, worker: _Worker) -> Event:
        """What became of the trial whose worker died; another takes the worker's place."""
        worker.process.join()
        worker.connection.close()
        code, trial = worker.process.exitcode, worker.trial
        message = f"the worker process died with exit code {code}" + (
            ", perhaps for want of memory: try fewer workers" if code == -signal.SIGKILL else ""
        )
        self.lost[trial.name] = self.lost.get(trial.name, 0) + 1
        again = self.lost[trial.name] <= self.retries
        if again:
            self.waiting.appendleft(trial)
        if self.waiting:
            fresh = self._start()
            worker.process, worker.connection = fresh.process, fresh.connection
        if again:
            return {"kind": "lost", "trial": trial.name, "message": message}
        return fail(trial, self.work.root, message)


def _serve(connection: Connection, work: Work, threads: int) -> None:
    """A worker process: the data loaded once, trials until the driver is gone."""
    _end_with_parent()
    # Ctrl-C goes to all processes of a terminal; the driver ends its workers and says so once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    keep_freed_memory()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            trial = connection.recv()
            if work.dataset is None:
                work = _loaded(work, trial, connection)
            connection.send(attempt(trial, work, lambda event: _tell(connection, event)))


def _tell(connection: Connection, event: Event) -> None:
    """Tells the driver; without one there is nothing left to do, and no failure to record."""
    try:
        connection.send(event)
    except ConnectionError:
        os._exit(1)


def _loaded(work: Work, trial: Trial, connection: Connection) -> Work:
    """The work with its data; if they can't be loaded any more, no trial can be run."""
    try:
        return replace(work, dataset=work.study.load())
    except Exception as error:
        message = f"a worker can't load the data: {type(error).__name__}: {error}"
        connection.send({"kind": "halted", "trial": trial.name, "message": message})
        raise SystemExit(1) from error


def _end_with_parent() -> None:
    """Ends this process when its parent dies, however that happens."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
