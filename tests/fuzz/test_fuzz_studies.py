"""Readers of a study's files: whatever a configuration or a record says, it is taken or refused."""

import json
import shutil

import numpy as np
import pytest
from fuzzing import ODD, altered, damaged, fuzzed, outcome
from hypothesis import given
from hypothesis import strategies as st

from edgewise.core import EdgewiseError, read_json, write_json
from edgewise.studies import STUDIES, AbstractStudy, grid, make_study
from edgewise.studies.kinds.configure import study_values
from edgewise.studies.records.records import StudyRecords, read_study

SOUND = [
    {},
    {
        "encoders": ["lete", "kmote"],
        "dim": [8, 16],
        "encoder_options": {"kmote": {"top_k": [1, 2]}},
    },
    {"study": "images", "models": ["cnn", "conv-kan"], "limit": 200, "shift": 1},
    {"study": "text", "models": ["lstm"], "model_options": {"lstm": {"dim": 8}}, "tokens": 9},
    {"study": "tabular", "rates": {"activations": 0.1}, "unfreeze": {"activations": 3}},
    {"study": "functions", "dataset_options": {"points": 64}, "parameters": [100, 200]},
    *(json.loads(json.dumps(study_values(STUDIES.resolve(name)()))) for name in STUDIES),
]
FIELDS = sorted({key for values in SOUND for key in values})


@fuzzed
@given(values=altered(SOUND), key=st.sampled_from(FIELDS), value=ODD, more=st.booleans())
def test_configurations(values, key, value, more):
    if more and isinstance(values, dict):
        values[key] = value
    found = outcome(lambda: make_study(values))
    assert isinstance(found, (AbstractStudy, EdgewiseError))
    found = outcome(lambda: grid(values))
    assert isinstance(found, (tuple, EdgewiseError))


@fuzzed
@given(content=damaged([json.dumps(values).encode() for values in SOUND]))
def test_configuration_files(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "study.json"
    path.write_bytes(content)
    found = outcome(lambda: make_study(read_json(path)))
    assert isinstance(found, (AbstractStudy, EdgewiseError))


SCORE = {"accuracy": 0.5, "loss": 1.0}
RECORD = {
    "variant": "kan",
    "subject": "kan",
    "options": {},
    "seed": 0,
    "task": "classes",
    "parameters": 12,
    "encoder_parameters": 0,
    "classes": ["a", "b"],
    "epochs": 1,
    "best_epoch": 1,
    "stopped_early": False,
    "validation": SCORE,
    "train": SCORE,
    "test": SCORE,
    "final": SCORE,
    "extra": {},
    "expert_usage": None,
}
TIMING = {"seconds_per_epoch": [1.0], "seconds": 1.0, "peak_memory_bytes": None}
TIMING |= {"device": "cpu", "threads": 1}
ROW = {"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0}
ROW |= {"train_accuracy": 0.5, "validation_accuracy": 0.5}
FILES = {
    "record.json": RECORD,
    "timing.json": TIMING,
    "history.jsonl": ROW,
    "failure.json": {"message": "it failed", "traceback": ""},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    write_json(root / "config.json", {"study": "tabular", "models": ["kan"]})
    return root


def sound_trial(root):
    folder = root / "trials" / "kan" / "seed-0"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("record.json", "timing.json", "history.jsonl"):
        (folder / name).write_text(json.dumps(FILES[name]))
    arrays = {name: np.zeros(2, int) for name in ("item", "label", "predicted", "length")}
    arrays |= {"probability": np.ones(2), "true_probability": np.ones(2)}
    np.savez(folder / "predictions.npz", **arrays)
    return folder


@fuzzed
@given(
    name=st.sampled_from(sorted(FILES)),
    content=damaged([json.dumps(value).encode() for value in FILES.values()])
    | altered(list(FILES.values())).map(lambda value: json.dumps(value).encode()),
)
def test_records(study, name, content):
    folder = sound_trial(study)
    if name == "failure.json":
        (folder / "record.json").unlink()
    (folder / name).write_bytes(content)
    found = outcome(lambda: read_study(study))
    assert isinstance(found, (StudyRecords, EdgewiseError))


@fuzzed
@given(data=st.data())
def test_kept_arrays(study, data):
    path = sound_trial(study) / "predictions.npz"
    path.write_bytes(data.draw(damaged([path.read_bytes()])))
    (trial,) = read_study(study).trials
    found = outcome(trial.predictions)
    assert isinstance(found, (dict, EdgewiseError))


def test_what_is_sound_is_read(study):
    assert all(isinstance(outcome(lambda v=v: grid(v)), tuple) for v in SOUND[:6])
    assert isinstance(outcome(lambda: make_study(SOUND[2])), AbstractStudy)
    sound_trial(study)
    (trial,) = read_study(study).trials
    assert sorted(trial.predictions())[0] == "item"
