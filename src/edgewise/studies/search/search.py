"""A search over the settings of a study: chosen on the validation split, tested once at the end."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgewise.core import (
    EdgewiseError,
    InputError,
    RunError,
    read_json,
    require,
    stream,
    write_json,
)
from edgewise.studies.kinds.configure import make_study
from edgewise.studies.kinds.study import check_device
from edgewise.studies.running.attempt import is_full, say_full
from edgewise.studies.running.fingerprint import fingerprint
from edgewise.studies.running.run_trial import train_trial
from edgewise.studies.running.study_folder import only_one
from edgewise.studies.running.trial import Trial, make_trial
from edgewise.studies.running.trial_model import build_model
from edgewise.studies.search.space import Space
from edgewise.train import read_history

STARTUP = 8
"""Trials at random, and without pruning, before the search learns from what it saw."""

Event = dict[str, Any]


@dataclass(frozen=True)
class Tried:
    """One point of the space and how it did.

    Attributes:
        number: Which one, from 0.
        state: ``"complete"``, ``"pruned"`` or ``"failed"``.
        score: Its best epoch on the validation split; the higher, the better.
        epochs: How many epochs it was given.
        values: The values that moved.
        point: The study's plain values.

    """

    number: int
    state: str
    score: float | None
    epochs: int
    values: dict[str, Any]
    point: dict[str, Any]


def search(
    space: Space,
    root: str | Path,
    trials: int,
    *,
    seed: int = 0,
    on_event: Callable[[Event], None] = lambda event: None,
) -> list[Tried]:
    """Tries points of the space until there are so many, each trained once with one seed.

    Points are proposed by Optuna's tree of Parzen estimators (Bergstra et al. 2011), each from all
    that came before and from a seed of its own, so that a search that was killed goes on as if it
    had not been. A trial whose validation falls below the median of the others at the same epoch is
    pruned. Nothing looks at the test split.

    Args:
        space: From `make_space`.
        root: The search's folder: ``search.json``, ``journal.log`` and the runs.
        trials: How many points in all, those of earlier calls included.
        seed: Of the proposals, and of the trials.
        on_event: Called with what happens, as by `edgewise.studies.run_study`.

    Returns:
        All points, in the order in which they were tried.

    Raises:
        InputError: If ``root`` holds another search or is in use.
        MissingExtraError: Without the extra ``search``.
        RunError: If every point failed, or the folder can't be written any more.

    """
    if trials < 1:
        raise InputError(f"trials must be at least 1, got {trials}")
    root, optuna = Path(root), require("optuna", "search")
    first = make_study(next(space.corners()))
    check_device(first.device)
    dataset = first.load()
    with only_one(root), _quiet(optuna):
        _claim(space, seed, fingerprint(dataset), root)
        try:
            driver = _Search(optuna, space, root, seed, dataset, on_event)
            tried = driver.run(trials)
        except OSError as error:
            if is_full(error):
                raise RunError(say_full(root, error)) from error
            raise
    if all(one.score is None for one in tried):
        raise RunError(f"no point of {len(tried)} could be trained: see {root / 'search.json'}")
    return tried


def best(tried: list[Tried]) -> Tried:
    """The complete point with the highest score, the first of equals."""
    whole = [one for one in tried if one.state == "complete"]
    return max(whole, key=lambda one: one.score)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Inside, Optuna says nothing of what goes well."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _claim(space: Space, seed: int, data: str, root: Path) -> None:
    """Refuses a folder with another search; claims an empty one."""
    parts = [*space.fields, *(part for own in space.options.values() for part in own)]
    wanted = {
        "fixed": space.fixed,
        "subjects": list(space.subjects.values),
        "moving": {part.name: json.loads(json.dumps(vars(part))) for part in parts},
        "seed": seed,
        "data": data,
    }
    path = root / "space.json"
    if not path.exists():
        others = sorted(p.name for p in root.iterdir() if p.name != ".lock")
        if others:
            raise InputError(
                f"{root} is not empty and holds no search (it has {others[0]!r}); choose another "
                f"folder for --out"
            )
        write_json(path, wanted)
    kept, wanted = read_json(path), json.loads(json.dumps(wanted))
    for key in wanted:
        if kept.get(key) != wanted[key]:
            raise InputError(
                f"{root} holds another search: there {key} is {kept.get(key)!r}, here it is "
                f"{wanted[key]!r}; choose another folder for --out"
            )


class _Search:
    """Asks Optuna, trains, and tells it, one point after the other."""

    def __init__(
        self,
        optuna: Any,
        space: Space,
        root: Path,
        seed: int,
        dataset: Any,
        on_event: Callable[[Event], None],
    ) -> None:
        self.optuna, self.space, self.root, self.seed = optuna, space, root, seed
        self.dataset, self.on_event = dataset, on_event
        self.study = optuna.create_study(
            storage=_journal(optuna, root / "journal.log"),
            study_name="edgewise",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=2),
        )

    def run(self, trials: int) -> list[Tried]:
        states = self.optuna.trial.TrialState
        for stale in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            # A killed driver's: the same point again, which its run goes on with.
            self.study.tell(stale.number, state=states.FAIL)
            self.study.enqueue_trial(stale.params, user_attrs={"again": True})
        finished = len(self._tried())
        self.on_event({"kind": "plan", "trials": trials, "finished": min(finished, trials)})
        while len(self._tried()) < trials:
            self._try()
            self._write()
        self._write()
        return self._tried()

    def _try(self) -> None:
        number = len(self._tried())
        draw = stream(self.seed, "search", number) % 2**32
        self.study.sampler = self.optuna.samplers.TPESampler(seed=draw, n_startup_trials=STARTUP)
        asked = self.study.ask()
        point = self.space.point(asked)
        asked.set_user_attr("point", point)
        name = f"trial {number}"
        study = make_study(point)
        self.on_event({"kind": "start", "trial": name, "epochs": study.epochs})
        trial = make_trial(study, study.variants()[0], self.seed)
        folder = self.root / "runs" / _digest(point)
        try:
            score = self._score(trial, asked, folder, name)
        except self.optuna.TrialPruned:
            self.study.tell(asked, state=self.optuna.trial.TrialState.PRUNED)
            self.on_event({"kind": "done", "trial": name})
        except Exception as error:
            if is_full(error):
                raise RunError(say_full(self.root, error)) from error
            message = str(error) if isinstance(error, EdgewiseError) else repr(error)
            asked.set_user_attr("message", message)
            self.study.tell(asked, state=self.optuna.trial.TrialState.FAIL)
            self.on_event({"kind": "failed", "trial": name, "message": message})
        else:
            self.study.tell(asked, score)
            self.on_event({"kind": "done", "trial": name})
        shutil.rmtree(folder, ignore_errors=True)

    def _score(self, trial: Trial, asked: Any, folder: Path, name: str) -> float:
        """The best epoch on the validation split."""
        study = trial.study
        settings = study.settings(study.task(self.dataset))

        def value(row: dict[str, Any]) -> float:
            sign = 1 if settings.select == "accuracy" else -1
            return sign * row[f"validation_{settings.select}"]

        def follow(row: dict[str, Any], model: torch.nn.Module | None = None) -> None:
            asked.report(value(row), row["epoch"])
            self.on_event({"kind": "epoch", "trial": name, **row})
            if row["epoch"] < settings.epochs and asked.should_prune():
                raise self.optuna.TrialPruned

        if (folder / "history.jsonl").exists():
            for row in read_history(folder / "history.jsonl"):
                follow(row)
        model = build_model(trial, self.dataset)
        return value(train_trial(trial, model, self.dataset, folder, [follow]).best)

    def _tried(self) -> list[Tried]:
        """All points but those that a kill cut short."""
        names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        whole = [
            t
            for t in self.study.get_trials(deepcopy=False)
            if t.state.name in names and (t.state.name != "FAIL" or "message" in t.user_attrs)
        ]
        return [
            Tried(
                number,
                names[t.state.name],
                _of(t),
                max(t.intermediate_values, default=0),
                self.space.moved(t.user_attrs["point"]),
                t.user_attrs["point"],
            )
            for number, t in enumerate(whole)
        ]

    def _write(self) -> None:
        write_json(self.root / "search.json", [vars(one) for one in self._tried()])


def _journal(optuna: Any, path: Path) -> Any:
    """Optuna's storage in one file; what a kill left half-done is cleared away."""
    # The folder's own lock is held, so this one is of a process that is no more.
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if path.exists():
        whole = path.read_bytes()
        if not whole.endswith(b"\n"):
            path.write_bytes(whole[: whole.rfind(b"\n") + 1])
    backend = optuna.storages.journal
    lock = backend.JournalFileOpenLock(str(path))
    return optuna.storages.JournalStorage(backend.JournalFileBackend(str(path), lock_obj=lock))


def _of(trial: Any) -> float | None:
    """A trial's score; of a pruned one the best that it had."""
    seen = trial.intermediate_values.values()
    return trial.value if trial.state.name == "COMPLETE" else max(seen, default=None)


def _digest(point: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(point, sort_keys=True).encode(), digest_size=8).hexdigest()
