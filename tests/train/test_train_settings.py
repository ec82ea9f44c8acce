import dataclasses

import pytest

from edgewise.core import InputError
from edgewise.train import Settings


def test_defaults_are_those_written_down():
    assert dataclasses.asdict(Settings()) == {
        "epochs": 10,
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "schedule": "cosine",
        "warmup": 0.1,
        "plateau_factor": 0.5,
        "plateau_patience": 2,
        "clip": 1.0,
        "accumulation": 1,
        "precision": "float32",
        "patience": 0,
        "rates": {},
        "unfreeze": {},
        "select": "accuracy",
    }


def test_settings_cant_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().epochs = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 0: give a whole number of at least 1"),
        ({"epochs": 2.0}, "epochs is 2.0: give a whole number of at least 1"),
        ({"epochs": True}, "epochs is True: give a whole number of at least 1"),
        ({"accumulation": 0}, "accumulation is 0: give a whole number of at least 1"),
        ({"patience": -1}, "patience is -1: give a whole number of at least 0"),
        ({"plateau_patience": -1}, "plateau_patience is -1: give a whole number of at least 0"),
        ({"learning_rate": 0}, "learning_rate is 0: give a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: give a number above 0"),
        ({"learning_rate": "1e-3"}, "learning_rate is '1e-3': give a number above 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1: give a number of at least 0"),
        ({"weight_decay": float("inf")}, "weight_decay is inf: give a number of at least 0"),
        ({"warmup": 1.0}, "warmup is 1.0: give a fraction of at least 0 and below 1"),
        ({"plateau_factor": 1.0}, "plateau_factor is 1.0: give a factor between 0 and 1"),
        ({"clip": -1}, "clip is -1: give a number of at least 0 (0 clips nothing)"),
        ({"clip": True}, "clip is True: give a number of at least 0 (0 clips nothing)"),
        (
            {"schedule": "plateu"},
            "unknown schedule 'plateu': did you mean 'plateau'? (known: cosine, plateau, constant)",
        ),
        (
            {"precision": "bf16"},
            "unknown precision 'bf16': did you mean 'bfloat16'? "
            "(known: float32, bfloat16, float16)",
        ),
        (
            {"select": "acuracy"},
            "unknown select 'acuracy': did you mean 'accuracy'? (known: accuracy, loss)",
        ),
    ],
)
def test_nonsense_is_refused_word_by_word(change, message):
    with pytest.raises(InputError) as error:
        Settings(**change)
    assert str(error.value) == message
