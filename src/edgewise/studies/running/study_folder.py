"""The folder of a study: one driver at a time, one study, and its log."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from edgewise.core import InputError, read_json, write_atomically, write_json
from edgewise.export import read_notes
from edgewise.studies.kinds.configure import study_values
from edgewise.studies.kinds.encoder_study import EncoderStudy
from edgewise.studies.kinds.study import SHARED_FREELY, AbstractStudy, Variant
from edgewise.studies.running.attempt import Event
from edgewise.studies.running.identity import refuse_another
from edgewise.studies.running.trial import Trial, planned

LONGEST_SLUG = 200
"""Characters; file systems allow 255 bytes, and logs add a seed and a suffix."""


def check_variants(variants: Sequence[Variant]) -> None:
    """Refuses names that would lead out of the study's folder, or two trials into one.

    Raises:
        InputError: With the name.

    Example:
        >>> check_variants([Variant("a/b", "raw"), Variant("a:b", "raw")])
        Traceback (most recent call last):
        edgewise.core.errors.InputError: the variants 'a/b' and 'a:b' would share the folder 'a_b'; rename one

    """  # noqa: E501
    seen: dict[str, str] = {}
    for variant in variants:
        slug = variant.slug
        if not slug.strip("._") or slug.startswith("."):
            raise InputError(
                f"the variant {variant.name!r} can't name a folder: give it a name that begins "
                f"with a letter or a number"
            )
        if len(slug.encode()) > LONGEST_SLUG:
            raise InputError(
                f"the variant {variant.name[:40]!r}… can't name a folder: with {len(slug.encode())}"
                f" bytes its name is longer than {LONGEST_SLUG}"
            )
        # Some file systems do not tell A from a.
        twin = seen.setdefault(slug.casefold(), variant.name)
        if twin != variant.name:
            raise InputError(
                f"the variants {twin!r} and {variant.name!r} would share the folder {slug!r}; "
                f"rename one"
            )


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Locks the folder against a second driver; the lock ends with the process."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        # `edgewise status` looks at the lock by taking it for a moment.
        with FileLock(root / ".lock", timeout=1):
            yield
    except Timeout:
        raise InputError(
            f"another edgewise process is running the study in {root}; wait for it or stop it"
        ) from None


def is_driven(root: Path) -> bool:
    """Whether a process holds the folder's lock now."""
    path = root / ".lock"
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def driver_note(root: Path, engine: str) -> Iterator[None]:
    """Inside, ``driver.json`` tells who runs the study; one that stays was left by a kill."""
    host, started = socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S")
    note = {"host": host, "pid": os.getpid(), "engine": engine, "started": started}
    path = write_json(root / "driver.json", note)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def check_folder(study: AbstractStudy, root: Path, data: str) -> None:
    """Refuses a folder that holds another study, one on other data, or something else altogether.

    Args:
        study: What is asked for.
        root: The folder.
        data: The fingerprint of its data.

    Raises:
        InputError: With the first difference.

    """
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
    plan = read_json(root / "plan.json") if (root / "plan.json").exists() else {}
    if plan.get("data", data) != data:
        raise InputError(
            f"{root} was begun on other data: {study.dataset!r} has changed since; put the old "
            f"data back, or choose another folder for --out"
        )


def write_plan(
    study: AbstractStudy, trials: Sequence[Trial], card: Any, data: str, root: Path
) -> None:
    """Writes ``config.json``, what is asked for, and ``plan.json``, the trials that it means.

    Args:
        study: The study.
        trials: All of its trials.
        card: A note about the data.
        data: Their fingerprint.
        root: The study's folder.

    """
    write_json(root / "config.json", study_values(study) | {"data_card": card})
    write_json(root / "plan.json", {"data": data, "trials": planned(trials)})


def keep_best(variant: Variant, root: Path) -> None:
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
        line = " ".join(f"{now} {event['kind']} {event.get('trial', '')} {said}".split("\n"))
        self._file.write(line.rstrip() + "\n")
        self._file.flush()
