from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from small_study import small_study

from edgewise.core import InputError
from edgewise.studies import make_study, run_study
from edgewise.studies.running.fingerprint import fingerprint


@dataclass(frozen=True)
class Set:
    train: torch.Tensor
    classes: tuple = ("a", "b")
    card: dict = field(default_factory=dict)


BASE = Set(torch.arange(6.0))
OTHERS = {
    "a number": Set(torch.arange(6.0) + torch.tensor([0, 0, 0, 0, 0, 1e-6])),
    "the order": Set(torch.arange(6.0).flip(0)),
    "the shape": Set(torch.arange(6.0).reshape(2, 3)),
    "the type": Set(torch.arange(6)),
    "a name": Set(torch.arange(6.0), ("a", "c")),
    "two names run together": Set(torch.arange(6.0), ("ab",)),
}


@pytest.mark.parametrize("what", OTHERS)
def test_every_change_shows(what):
    assert fingerprint(OTHERS[what]) != fingerprint(BASE)


def test_the_card_and_the_memory_do_not_count():
    assert fingerprint(replace(BASE, card={"path": "elsewhere"})) == fingerprint(BASE)
    strided = torch.arange(12.0)[:6].clone().reshape(2, 3).T.contiguous().T.reshape(6)
    assert fingerprint(Set(strided)) == fingerprint(BASE)


def test_objects_arrays_and_nothing_have_one():
    class Thing:
        def __init__(self, words):
            self.words = words

    values = [Thing(["x"]), Thing(["y"]), np.arange(3), np.array(["u", 1], dtype=object), None]
    assert len({fingerprint(value) for value in values}) == 5


def test_every_kind_of_study_has_the_same_one_twice():
    for values in (
        {"study": "encoders", "limit": 50},
        {"study": "images", "dataset": "digits", "limit": 50},
        {"study": "functions", "limit": 50},
    ):
        one, other = (fingerprint(make_study(values).load()) for _ in range(2))
        assert one == other
        assert fingerprint(make_study(values | {"split_seed": 1}).load()) != one


def test_a_study_is_not_gone_on_with_on_other_data(tmp_path):
    path = tmp_path / "events.csv"
    rows = [f"{s},{t},{'ab'[s % 2]}" for s in range(40) for t in range(3)]
    path.write_text("\n".join(["sequence,time,label", *rows, ""]))
    few = {"encoders": ("raw",), "dataset": str(path), "limit": 0, "epochs": 1}
    run_study(small_study(**few, seeds=1), tmp_path / "out")
    path.write_text("\n".join(["sequence,time,label", *rows[:-3], ""]))
    with pytest.raises(InputError) as error:
        run_study(small_study(**few, seeds=2), tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path / 'out'} was begun on other data: {str(path)!r} has changed since; put the "
        f"old data back, or choose another folder for --out"
    )
    path.write_text("\n".join(["sequence,time,label", *rows, ""]))
    run_study(small_study(**few, seeds=2), tmp_path / "out")
