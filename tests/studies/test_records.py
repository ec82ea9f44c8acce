import json

import numpy as np
import pytest
import synthetic_study as made

from edgewise.core import InputError
from edgewise.studies.records.records import read_study


@pytest.fixture
def study(tmp_path):
    return made.write_study(tmp_path / "study", seeds=2, items=20)


def test_reads_all_trials_in_the_configured_order(study):
    records = read_study(study)
    assert list(records.by_variant) == ["raw", "lete", "kmote"]
    assert [trial.seed for trial in records.by_variant["kmote"]] == [0, 1]
    assert records.seeds == (0, 1)
    assert records.config["dataset"] == "digits"
    assert records.by_variant["raw"][0].record["parameters"] == 10_000
    assert not records.failures
    assert not records.unfinished


def test_variants_that_are_not_configured_come_last_by_name(study):
    config = json.loads((study / "config.json").read_text()) | {"encoders": ["lete"]}
    made.write_json(study / "config.json", config)
    assert list(read_study(study).by_variant) == ["lete", "kmote", "raw"]


def test_seeds_sort_as_numbers(tmp_path):
    records = read_study(made.write_study(tmp_path, ("raw",), seeds=11, items=12, curves=False))
    assert [trial.seed for trial in records.by_variant["raw"]] == list(range(11))


def test_failed_and_unfinished_trials_are_told_apart(study):
    made.write_failure(study, "slow=yes", 3)
    (study / "trials" / "raw" / "seed-9").mkdir()
    (study / "trials" / "raw" / "seed-9" / "history.jsonl").write_text("{")
    records = read_study(study)
    (failure,) = records.failures
    assert (failure.variant, failure.seed) == ("slow=yes", "3")
    assert failure.message == "the loss became NaN"
    assert [path.name for path in records.unfinished] == ["seed-9"]


def test_a_failure_of_an_earlier_try_does_not_hide_the_record(study):
    made.write_failure(study, "raw", 0)
    records = read_study(study)
    assert len(records.trials) == 6
    assert not records.failures


def test_a_failure_may_name_its_variant(study):
    made.write_failure(study, "a_b", 0)
    path = study / "trials" / "a_b" / "seed-0" / "failure.json"
    made.write_json(path, json.loads(path.read_text()) | {"variant": "a/b", "seed": 0})
    assert read_study(study).failures[0].variant == "a/b"


def test_predictions_stand_side_by_side(study):
    predictions = read_study(study).predictions
    with np.load(study / "trials" / "lete" / "seed-1" / "predictions.npz") as file:
        np.testing.assert_array_equal(predictions.predicted["lete"][1], file["predicted"])
        np.testing.assert_array_equal(predictions.item, file["item"])
        np.testing.assert_array_equal(predictions.probability["lete"][1], file["probability"])
    expected = read_study(study).by_variant["lete"][1].record["test"]["accuracy"]
    assert predictions.correct("lete")[1].mean() == pytest.approx(expected, abs=1e-12)


def test_answers_in_another_order_are_put_in_order(study):
    path = study / "trials" / "lete" / "seed-1" / "predictions.npz"
    before = read_study(study).predictions.predicted["lete"]
    with np.load(path) as file:
        arrays = {name: file[name][::-1] for name in file.files}
    np.savez(path, **arrays)
    np.testing.assert_array_equal(read_study(study).predictions.predicted["lete"], before)


def test_curves_are_read_where_there_are_any(study):
    with_curves, without = read_study(study).by_variant["kmote"]
    assert with_curves.curves()["router"].shape == (80, 4)
    assert without.curves() == {}


def message(call):
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_a_folder_that_is_no_study(tmp_path):
    assert message(lambda: read_study(tmp_path)) == (
        f"{tmp_path} is not a study: it has no config.json; "
        f"give the folder that `edgewise compare --out` wrote"
    )


WAY_OUT = "delete the folder {folder} and run the study again, which repeats this trial only"


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("record.json", "{", "Expecting property name enclosed in double quotes"),
        ("record.json", "[]", "it is not a table of names and values"),
        ("record.json", '{"variant": "raw"}', "it has no 'subject'"),
        ("record.json", {"variant": ["raw"]}, "its 'variant' can't be ['raw']"),
        ("record.json", {"task": {}}, "its 'task' can't be {}"),
        ("record.json", {"seed": True}, "its 'seed' can't be True"),
        ("record.json", {"test": {"accuracy": "high"}}, "its 'test' has no accuracy"),
        ("timing.json", {"seconds": "5"}, "its 'seconds' can't be '5'"),
        ("timing.json", None, "it is missing"),
        ("timing.json", "{}", "it has no 'seconds_per_epoch'"),
        ("history.jsonl", None, "it is missing"),
        ("history.jsonl", "", "it has no rows"),
        ("history.jsonl", '{"epoch": 1}\n', "it has no 'train_loss'"),
        ("history.jsonl", '{"epoch": 1', "Expecting ',' delimiter"),
        ("history.jsonl", "[" * 100_000, "maximum recursion depth"),
    ],
)
def test_damaged_text_files(study, file, content, fault):
    folder = study / "trials" / "raw" / "seed-0"
    if content is None:
        (folder / file).unlink()
    elif isinstance(content, dict):
        kept = json.loads((folder / file).read_text())
        made.write_json(folder / file, kept | content)
    else:
        (folder / file).write_text(content)
    text = message(lambda: read_study(study))
    assert text.startswith(f"{folder / file} is damaged ({fault}")
    assert text.endswith("): " + WAY_OUT.format(folder=folder))


def test_a_record_without_an_accuracy(study):
    folder = study / "trials" / "raw" / "seed-0"
    record = json.loads((folder / "record.json").read_text()) | {"test": {"loss": 1.0}}
    made.write_json(folder / "record.json", record)
    assert "is damaged (its 'test' has no accuracy): delete" in message(lambda: read_study(study))


@pytest.mark.parametrize("file", ["predictions.npz", "curves.npz"])
def test_damaged_arrays(study, file):
    path = study / "trials" / "raw" / "seed-0" / file
    path.write_bytes(path.read_bytes()[:100])
    trial = read_study(study).by_variant["raw"][0]
    text = message(trial.predictions if file.startswith("p") else trial.curves)
    assert text.startswith(f"{path} is damaged (")
    assert text.endswith(WAY_OUT.format(folder=path.parent))


def test_missing_arrays(study):
    folder = study / "trials" / "raw" / "seed-0"
    np.savez(folder / "predictions.npz", item=np.arange(3))
    np.savez(folder / "curves.npz", time=np.arange(3))
    trial = read_study(study).by_variant["raw"][0]
    assert "predictions.npz is damaged (it has no 'label')" in message(trial.predictions)
    assert "curves.npz is damaged (it has no 'density')" in message(trial.curves)
    (folder / "predictions.npz").unlink()
    assert "predictions.npz is damaged (it is missing)" in message(trial.predictions)


def test_trials_of_other_test_items(study):
    path = study / "trials" / "lete" / "seed-0" / "predictions.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | {"item": arrays["item"] + 1}))
    first = study / "trials" / "raw" / "seed-0"
    assert message(lambda: read_study(study).predictions) == (
        f"{path.parent} was tested on other items than {first}, so they can't be compared: "
        f"delete the one that does not belong to this study"
    )


def test_a_record_that_contradicts_its_predictions(study):
    path = study / "trials" / "lete" / "seed-0" / "record.json"
    record = json.loads(path.read_text())
    made.write_json(path, record | {"test": {"accuracy": 0.125, "loss": 1.0}})
    text = message(lambda: read_study(study).predictions)
    assert "says that accuracy on the test set is 0.12500, its predictions say 0." in text


def test_two_folders_for_one_trial(study):
    twin = study / "trials" / "raw" / "seed-1"
    record = json.loads((twin / "record.json").read_text()) | {"seed": 0}
    made.write_json(twin / "record.json", record)
    first = study / "trials" / "raw" / "seed-0"
    assert message(lambda: read_study(study)) == (
        f"{first} and {twin} both hold 'raw' with seed 0: delete one of them"
    )


def test_predictions_of_no_trial(tmp_path):
    made.write_json(tmp_path / "config.json", {})
    assert message(lambda: read_study(tmp_path).predictions) == (
        f"{tmp_path} has no finished trial: run the study first"
    )
