"""Runs a study: each trial once, several at a time, whatever dies on the way."""

import contextlib
import multiprocessing
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from edgewise.core import EdgewiseError, InputError, read_json, write_atomically, write_json
from edgewise.export import read_notes
from edgewise.studies.configure import study_values
from edgewise.studies.custom import resolve_analyses
from edgewise.studies.encoder_study import EncoderStudy
from edgewise.studies.study import SHARED_FREELY, AbstractStudy, Variant, check_device
from edgewise.studies.trial import (
    Trial,
    is_finished,
    make_model,
    make_trial,
    refuse_another,
    run_trial,
)

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


def run_study(
    study: AbstractStudy,
    root: str | Path,
    *,
    variants: Sequence[Variant] | None = None,
    on_event: OnEvent = lambda event: None,
) -> Path:
    """Trains every trial of the study that ``root`` does not hold yet.

    Killed at any moment and called again, it ends with the same records. A trial that fails
    leaves ``failure.json`` and is tried again by the next call; the others go on.

    Args:
        study: What to compare.
        root: The study's folder.
        variants: What is compared; by default one variant for each encoder.
        on_event: Called with what happens: ``{"kind": "plan" | "start" | "epoch" | "done" |
            "failed", "trial": name, …}``.

    Returns:
        ``root``.

    Raises:
        InputError: If the study can't be run, or ``root`` holds another one or is in use.

    """
    root = Path(root)
    variants = list(study.variants() if variants is None else variants)
    trials = [make_trial(study, v, seed) for seed in range(study.seeds) for v in variants]
    dataset = study.load()
    _check_plan(study, trials[: len(variants)], dataset)
    with _only_one(root):
        _check_folder(study, root)
        waiting = [trial for trial in trials if not is_finished(trial, root)]
        write_json(root / "config.json", study_values(study) | {"data_card": dataset.card})
        finished = len(trials) - len(waiting)
        on_event({"kind": "plan", "trials": len(trials), "finished": finished})
        with Log(root / "logs" / "study.log") as log:

            def tell(event: Event) -> None:
                log(event)
                on_event(event)

            if study.workers == 0:
                _run_here(waiting, dataset, root, tell)
            else:
                _run_in_processes(waiting, study, root, tell)
        for variant in variants:
            _keep_best(variant, root)
    return root


def _keep_best(variant: Variant, root: Path) -> None:
    """Copies the weights of the variant's best seed, chosen on validation, to the top folder."""
    kept = root / f"{variant.slug}_best.safetensors"
    found = (root / "trials" / variant.slug).glob("seed-*/best.safetensors")
    candidates = sorted(path for path in found if (path.parent / "record.json").exists())
    if kept.exists():
        # First, so that it stays where none is better: its own trial's weights may be gone.
        candidates.insert(0, kept)
    if candidates:
        best = max(candidates, key=lambda path: read_notes(path)["validation"])
        write_atomically(kept, best.read_bytes())


def _check_plan(study: AbstractStudy, trials: Sequence[Trial], dataset: Any) -> None:
    """Finds what is wrong with the request before anything is written.

    Only the request: what a user's own code raises when it is called is that variant's failure.
    """
    resolve_analyses(study.analyses)
    check_device(study.device)
    for trial in trials:
        try:
            make_model(trial, dataset)
        except InputError:
            raise
        except Exception:  # reported when the trial itself is tried
            continue


@contextlib.contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Locks the folder against a second driver; the lock ends with the process."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(root / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"another edgewise process is running the study in {root}; wait for it or stop it"
        ) from None


def _check_folder(study: AbstractStudy, root: Path) -> None:
    """Refuses a folder that holds another study, or something else altogether."""
    path = root / "config.json"
    if not path.exists():
        others = [p.name for p in root.iterdir() if p.name not in (".lock", "logs", "trials")]
        if others:
            raise InputError(
                f"{root} is not empty and holds no study (it has {sorted(others)[0]!r}); "
                f"choose another folder for --out"
            )
        return
    kept, wanted = {"study": EncoderStudy.kind} | read_json(path), study_values(study)
    for values in (kept, wanted):
        for name in (*SHARED_FREELY, "data_card"):
            values.pop(name, None)
    refuse_another(kept, wanted, root)


class Log:
    """A text file of what happened when; the only place where the clock is written down."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Appends one line."""
        said = " ".join(f"{k}={v}" for k, v in event.items() if k in ("epoch", "message"))
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        self._file.write(f"{now} {event['kind']} {event.get('trial', '')} {said}".rstrip() + "\n")
        self._file.flush()


def _run_here(trials: Sequence[Trial], dataset: Any, root: Path, on_event: OnEvent) -> None:
    for trial in trials:
        on_event({"kind": "start", "trial": trial.name, "epochs": trial.study.epochs})
        on_event(_attempt(trial, dataset, root, on_event))


def _attempt(trial: Trial, dataset: Any, root: Path, on_event: OnEvent) -> Event:
    """Runs a trial; what goes wrong in it becomes a failure on record, not an exception."""

    def report(row: dict[str, Any]) -> None:
        on_event({"kind": "epoch", "trial": trial.name, **row})

    try:
        # A worker that outlived its killed driver may still hold the trial for a moment.
        trial.folder(root).mkdir(parents=True, exist_ok=True)
        with FileLock(trial.folder(root) / ".lock", timeout=60):
            run_trial(trial, dataset, root, report)
    except Exception as error:
        message = str(error) if isinstance(error, EdgewiseError) else _describe(error)
        record_failure(trial, root, message, traceback.format_exc())
        return {"kind": "failed", "trial": trial.name, "message": message}
    return {"kind": "done", "trial": trial.name}


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def record_failure(trial: Trial, root: Path, message: str, trace: str) -> None:
    """Writes why a trial failed."""
    write_json(
        trial.folder(root) / "failure.json",
        {
            "variant": trial.variant.name,
            "subject": trial.variant.subject,
            "seed": trial.seed,
            "message": message,
            "traceback": trace,
        },
    )


@dataclass
class _Worker:
    """A process that runs trials one after the other, and what it is at."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    trial: Trial | None = None


def _run_in_processes(
    trials: Sequence[Trial], study: AbstractStudy, root: Path, on_event: OnEvent
) -> None:
    """Hands trials to processes; one that dies costs its own trial only."""
    waiting = deque(trials)
    workers = [_start(study, root) for _ in range(min(study.workers, len(waiting)))]
    try:
        for worker in workers:
            _hand_out(worker, waiting, on_event)
        while busy := [w for w in workers if w.trial is not None]:
            for ready in wait([w.connection for w in busy]):
                worker = next(w for w in busy if w.connection is ready)
                if _listen(worker, root, on_event):
                    continue
                if not worker.process.is_alive() and waiting:
                    workers[workers.index(worker)] = worker = _start(study, root)
                if worker.process.is_alive():
                    _hand_out(worker, waiting, on_event)
    finally:
        for worker in workers:
            worker.connection.close()
            worker.process.terminate()
            worker.process.join()


def _start(study: AbstractStudy, root: Path) -> _Worker:
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, study, root), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _hand_out(worker: _Worker, waiting: deque[Trial], on_event: OnEvent) -> None:
    worker.trial = waiting.popleft() if waiting else None
    if worker.trial is not None:
        worker.connection.send(worker.trial)
        start = {"kind": "start", "trial": worker.trial.name, "epochs": worker.trial.study.epochs}
        on_event(start)


def _listen(worker: _Worker, root: Path, on_event: OnEvent) -> bool:
    """Takes one message; True while the worker is still at its trial."""
    try:
        event = worker.connection.recv()
    except (EOFError, ConnectionError):
        worker.process.join()
        code = worker.process.exitcode
        message = f"the worker process died with exit code {code}" + (
            ", perhaps for want of memory: try fewer workers" if code == -9 else ""
        )
        record_failure(worker.trial, root, message, "")
        event = {"kind": "failed", "trial": worker.trial.name, "message": message}
    on_event(event)
    return event["kind"] == "epoch"


def _work(connection: Connection, study: AbstractStudy, root: Path) -> None:
    """A worker process: one thread, the data loaded once, trials until the driver is gone."""
    _end_with_parent()
    torch.set_num_threads(1)
    dataset = study.load()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            trial = connection.recv()
            connection.send(_attempt(trial, dataset, root, connection.send))


def _end_with_parent() -> None:
    """Ends this process when its parent dies, however that happens."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
