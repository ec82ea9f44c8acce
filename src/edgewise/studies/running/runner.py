"""Runs a study: each trial once, several at a time, whatever dies on the way."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgewise.core import InputError, RunError
from edgewise.studies.kinds.study import AbstractStudy, Variant
from edgewise.studies.records.custom import resolve_analyses
from edgewise.studies.running.attempt import Event, OnEvent, Work, is_full, say_full
from edgewise.studies.running.engine import Engine, halting, make_engine
from edgewise.studies.running.fingerprint import fingerprint
from edgewise.studies.running.study_folder import (
    Log,
    check_folder,
    check_variants,
    driver_note,
    keep_best,
    only_one,
    write_plan,
)
from edgewise.studies.running.trial import Trial, is_finished, make_trial
from edgewise.studies.running.trial_model import make_model
from edgewise.train.loggers import check_loggers


def run_study(
    study: AbstractStudy,
    root: str | Path,
    *,
    variants: Sequence[Variant] | None = None,
    engine: Engine | None = None,
    loggers: Sequence[str] = (),
    on_event: OnEvent = lambda event: None,
) -> Path:
    """Trains every trial of the study that ``root`` does not hold yet.

    Killed at any moment and called again, it ends with the same records. A trial that fails
    leaves ``failure.json`` and is tried again by the next call; the others go on.

    Args:
        study: What to compare.
        root: The study's folder.
        variants: What is compared; by default one variant for each encoder.
        engine: Who runs the trials, from `edgewise.studies.make_engine`; by default this machine.
        loggers: Loggers by name, see `edgewise.train.make_loggers`.
        on_event: Called with what happens: ``{"kind": "plan" | "start" | "epoch" | "lost" | "done"
            | "failed", "trial": name, …}``. A trial that is lost with its worker is tried again.

    Returns:
        ``root``.

    Raises:
        InputError: If the study can't be run, or ``root`` holds another one or is in use.
        RunError: If the folder can't be written any more, or a worker can't load the data.

    """
    root = Path(root)
    engine = make_engine() if engine is None else engine
    variants = list(study.variants() if variants is None else variants)
    check_variants(variants)
    check_loggers(loggers)
    trials = [make_trial(study, v, seed) for seed in range(study.seeds) for v in variants]
    dataset = study.load()
    try:
        _check_plan(study, trials[: len(variants)], dataset)
        with engine.ready(study), only_one(root):
            _run(Work(study, root, dataset, loggers), trials, engine, on_event)
            for variant in variants:
                keep_best(variant, root)
    except OSError as error:
        if is_full(error):
            raise RunError(say_full(root, error)) from error
        raise
    return root


def _run(work: Work, trials: Sequence[Trial], engine: Engine, on_event: OnEvent) -> None:
    """What is waiting in a folder that is ours, run by the engine, with a log."""
    root, data = work.root, fingerprint(work.dataset)
    check_folder(work.study, root, data)
    waiting = [trial for trial in trials if not is_finished(trial, root)]
    write_plan(work.study, trials, work.dataset.card, data, root)
    plan = {"kind": "plan", "trials": len(trials), "finished": len(trials) - len(waiting)}
    on_event(plan)
    with Log(root / "logs" / "study.log") as log, driver_note(root, engine.name):

        def tell(event: Event) -> None:
            log(event)
            on_event(event)

        log(plan)
        engine.run(waiting, work, halting(tell))


def _check_plan(study: AbstractStudy, trials: Sequence[Trial], dataset: Any) -> None:
    """Finds what is wrong with the request before anything is written.

    Only the request: what a user's own code raises when it is called is that variant's failure.
    """
    resolve_analyses(study.analyses)
    for trial in trials:
        try:
            make_model(trial, dataset)
        except InputError:
            raise
        except Exception:  # reported when the trial itself is tried
            continue
