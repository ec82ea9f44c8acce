"""One trial: one variant with one seed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgewise.core import read_json
from edgewise.studies.kinds.study import SHARED_FREELY, AbstractStudy, Variant
from edgewise.studies.running.identity import refuse_another


@dataclass(frozen=True)
class Trial:
    """One variant with one seed.

    Attributes:
        study: The study, with the variant's changes made.
        variant: What is trained.
        seed: The seed of the weights, of the order of batches and of dropout.

    """

    study: AbstractStudy
    variant: Variant
    seed: int

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.variant.name} seed {self.seed}"

    @property
    def slug(self) -> str:
        """What files of its own are called that don't lie in its folder."""
        return f"{self.variant.slug}_seed-{self.seed}"

    def folder(self, root: Path) -> Path:
        """Where it is kept."""
        return root / "trials" / self.variant.slug / f"seed-{self.seed}"

    def identity(self) -> dict[str, Any]:
        """All that decides its result; two trials of one folder must agree in it."""
        study = self.study.as_dict()
        for name in SHARED_FREELY:
            study.pop(name, None)
        return {"study": study, "variant": asdict(self.variant), "seed": self.seed}


def planned(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """The trials of a study as ``plan.json`` lists them."""
    return [
        {
            "trial": trial.name,
            "variant": trial.variant.name,
            "folder": trial.folder(Path()).as_posix(),
            "epochs": trial.study.epochs,
        }
        for trial in trials
    ]


def make_trial(study: AbstractStudy, variant: Variant, seed: int) -> Trial:
    """A trial of a study, the variant's changes made."""
    return Trial(replace(study, **variant.changes), variant, seed)


def is_finished(trial: Trial, root: Path) -> bool:
    """Whether the trial's record is there.

    Raises:
        InputError: If its folder holds a trial of another study.

    """
    folder = trial.folder(root)
    if (folder / "trial.json").exists():
        refuse_another(read_json(folder / "trial.json"), trial.identity(), root)
    return (folder / "record.json").exists()
