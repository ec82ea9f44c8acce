import json

import numpy as np
import pytest
import synthetic_study as made

from edgewise.core import InputError, read_json, write_json
from edgewise.studies.records.records import read_study
from edgewise.studies.report.analysis import analyse
from edgewise.studies.report.variant import convergence_epoch, over_seeds, stability
from edgewise.studies.statistics import crossed_difference, holm, mean_interval
from edgewise.studies.statistics.comparison import MAX_LISTED, compare_pairs

SKILL = {"raw": 0.6, "lete": 0.85, "kmote": 0.9}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return read_study(made.write_study(folder, skill=SKILL, items=200))


@pytest.fixture(scope="module")
def analysis(records):
    return analyse(records)


def test_it_is_json_and_comes_back(analysis, tmp_path):
    again = read_json(write_json(tmp_path / "a.json", analysis))
    assert again["ranking"] == analysis["ranking"]
    assert again["variants"]["kmote"]["test_score"] == analysis["variants"]["kmote"]["test_score"]


def test_the_accuracy_and_its_interval(records, analysis):
    values = [t.record["test"]["accuracy"] for t in records.by_variant["lete"]]
    entry = analysis["variants"]["lete"]["test_score"]
    assert (entry["mean"], entry["low"], entry["high"]) == pytest.approx(
        mean_interval(np.array(values))
    )
    assert entry["values"] == values
    final = analysis["variants"]["lete"]["final_score"]["mean"]
    assert final == pytest.approx(entry["mean"] - 0.005)


def test_ranking_and_headline(analysis):
    assert analysis["ranking"] == ["kmote", "lete", "raw"]
    assert analysis["headline"].startswith("kmote has the highest mean test accuracy on digits")
    assert "Its lead over" in analysis["headline"]
    assert analysis["study"]["enough_seeds"] is True


def test_pairs_are_the_statistics_of_the_answers(records, analysis):
    right = {name: records.predictions.correct(name) for name in SKILL}
    tests = {
        (pair["a"], pair["b"]): crossed_difference(right[pair["a"]], right[pair["b"]])
        for pair in analysis["pairs"]
    }
    assert list(tests) == [("kmote", "lete"), ("kmote", "raw"), ("lete", "raw")]
    adjusted = holm(np.array([test.p for test in tests.values()]))
    for pair, test, p in zip(analysis["pairs"], tests.values(), adjusted, strict=True):
        assert pair["difference_points"] == pytest.approx(100 * test.mean)
        assert pair["low_points"] == pytest.approx(100 * test.low)
        assert pair["p"] == pytest.approx(test.p)
        assert pair["p_holm"] == pytest.approx(p)
        assert len(pair["mcnemar_p"]) == pair["seeds"] == 6
    assert analysis["pairs"][1]["established"] is True
    assert analysis["pairs"][1]["verdict"].startswith("kmote is better than raw by ")


def test_convergence_and_stability():
    scores = [0.2, 0.895, 0.9, 0.88]
    assert convergence_epoch(scores) == 2
    assert stability(scores) == pytest.approx(np.std([0.9, 0.88], ddof=1))
    assert stability(scores[:1]) is None
    long = np.linspace(0, 1, 9)
    assert stability(long) == pytest.approx(np.std(long[-3:], ddof=1))


def test_over_seeds_with_unknown_values():
    assert over_seeds([0.5, None], 0.95)["mean"] is None
    assert over_seeds([float("nan"), 0.5], 0.95)["low"] is None
    assert over_seeds([], 0.95)["mean"] is None


def test_a_run_that_stopped_early_keeps_its_last_value(records, analysis):
    curves = analysis["variants"]["raw"]["curves"]
    last = [t.history[-1]["validation_accuracy"] for t in records.by_variant["raw"]]
    assert len(curves["epoch"]) == 6
    assert {len(t.history) for t in records.by_variant["raw"]} == {5, 6}
    assert curves["validation_score"]["mean"][-1] == pytest.approx(np.mean(last))


def test_the_gap_is_training_minus_validation(analysis):
    # The synthetic histories are made with two points of it.
    assert analysis["variants"]["raw"]["overfitting_gap"]["mean"] == pytest.approx(0.02)
    assert analysis["variants"]["raw"]["seconds_per_epoch"] == pytest.approx(0.525, abs=0.01)
    assert analysis["variants"]["raw"]["peak_memory_mb"] == 300


def test_lengths_fall_into_bins_that_hold_all_items(records, analysis):
    bins = analysis["by_length"]["bins"]
    length = records.predictions.length
    assert sum(bin_["items"] for bin_ in bins) == length.size
    assert (bins[0]["shortest"], bins[-1]["longest"]) == (length.min(), length.max())
    inside = (length >= bins[1]["shortest"]) & (length <= bins[1]["longest"])
    expected = records.predictions.correct("lete")[:, inside].mean()
    assert analysis["by_length"]["variants"]["lete"][1]["mean"] == pytest.approx(expected)


def test_confusion_counts_every_answer(records, analysis):
    matrix = np.array(analysis["confusion"]["raw"])
    assert matrix.sum() == 6 * 200
    right = records.predictions.correct("raw").sum()
    assert np.trace(matrix) == right
    label, predicted = records.predictions.label, records.predictions.predicted["raw"]
    assert matrix[1, 2] == ((predicted == 2) & (label == 1)).sum()


def test_mistakes_tell_the_truth(records, analysis):
    for row in analysis["mistakes"]["telling"]["raw"]:
        place = list(records.predictions.item).index(row["item"])
        own = records.predictions.correct("raw")[:, place].mean()
        others = np.mean(
            [records.predictions.correct(n)[:, place].mean() for n in ("lete", "kmote")]
        )
        assert own < 0.5 <= others
        assert (row["right"], row["others_right"]) == pytest.approx((own, others))
        assert row["answer"] != row["label"]


def test_items_that_nobody_gets_right(tmp_path):
    study = made.write_study(tmp_path, skill=dict.fromkeys(made.VARIANTS, 0.3), items=60, seeds=2)
    records = read_study(study)
    found = analyse(records)["mistakes"]["common"]
    wrong = np.all([~records.predictions.correct(n).any(0) for n in made.VARIANTS], axis=0)
    assert found["count"] == wrong.sum() > 0
    assert [row["probability"] for row in found["items"]] == sorted(
        (row["probability"] for row in found["items"]), reverse=True
    )


def test_experts_and_dead_ones(records, analysis):
    assert list(analysis["experts"]) == ["kmote"]
    entry = analysis["experts"]["kmote"]
    assert entry["dead"] == ["wavelet"]
    used = [t.record["expert_usage"]["selected"][0] for t in records.by_variant["kmote"]]
    assert entry["selected"][0]["mean"] == pytest.approx(np.mean(used))
    assert np.array(entry["over_epochs"]["selected"]).shape == (4, 6)


def test_five_seeds_never_claim(tmp_path):
    found = analyse(read_study(made.write_study(tmp_path, skill=SKILL, seeds=5, items=200)))
    assert not any(pair["established"] for pair in found["pairs"])
    assert "No variant is shown to be better" in found["headline"]
    assert found["study"]["enough_seeds"] is False
    assert found["pairs"][0]["verdict"] == (
        "5 seeds are too few to tell: the smallest p that 5 paired seeds can give is 0.0625"
    )


def test_one_seed_has_no_interval(tmp_path):
    found = analyse(read_study(made.write_study(tmp_path, seeds=1, items=30)))
    assert found["variants"]["raw"]["test_score"]["low"] is None
    (first, *_) = found["pairs"]
    assert first["difference_points"] is not None
    assert first["p"] is first["low_points"] is first["hedges_g"] is None


def test_one_variant_and_none(tmp_path):
    one = analyse(read_study(made.write_study(tmp_path / "one", ("raw",), seeds=2, items=30)))
    assert one["pairs"] == []
    assert one["headline"].endswith("There is nothing to compare it with.")
    made.write_json(tmp_path / "none" / "config.json", {"dataset": "digits"})
    made.write_failure(tmp_path / "none", "raw", 0)
    none = analyse(read_study(tmp_path / "none"))
    assert none["headline"] == "No trial on digits finished, so there is nothing to compare."
    assert none["notes"] == ["1 trial failed (raw); the others are compared without."]


def test_missing_seeds_are_left_out_of_their_pairs_only(tmp_path):
    study = made.write_study(tmp_path, skill=SKILL, seeds=8, items=100)
    for seed in (0, 1):
        (study / "trials" / "lete" / f"seed-{seed}" / "record.json").unlink()
    records = read_study(study)
    found = analyse(records)
    pairs = {(pair["a"], pair["b"]): pair for pair in found["pairs"]}
    assert pairs["kmote", "raw"]["seeds"] == 8
    with_lete = next(pair for names, pair in pairs.items() if "lete" in names)
    assert with_lete["seeds"] == 6
    a, b = with_lete["a"], with_lete["b"]
    rows = {n: records.predictions.correct(n)[-6:] for n in (a, b)}
    assert with_lete["p"] == pytest.approx(crossed_difference(rows[a], rows[b]).p)
    assert any("Not every seed is there for lete" in note for note in found["notes"])
    assert found["unfinished"] == ["lete/seed-0", "lete/seed-1"]


def test_seeds_without_any_in_common():
    right = {"a": np.ones((2, 5)), "b": np.zeros((2, 5))}
    (pair,) = compare_pairs(right, {"a": (0, 1), "b": (2, 3)}, ["a", "b"])
    assert pair["seeds"] == 0
    assert pair["difference_points"] is pair["p"] is None
    assert pair["verdict"].startswith("0 seeds are too few to tell")


def test_many_variants_list_the_leaders_pairs_only():
    rng = np.random.default_rng(0)
    names = [f"v{place}" for place in range(MAX_LISTED + 1)]
    right = {name: rng.random((6, 20)) < 0.5 for name in names}
    pairs = compare_pairs(right, dict.fromkeys(names, range(6)), names)
    assert [pair["b"] for pair in pairs] == names[1:]
    every = [
        crossed_difference(right[a], right[b]).p
        for place, a in enumerate(names)
        for b in names[place + 1 :]
    ]
    np.testing.assert_allclose([p["p_holm"] for p in pairs], holm(np.array(every))[: len(pairs)])


def test_a_loss_that_is_not_known(tmp_path):
    study = made.write_study(tmp_path, seeds=2, items=30)
    path = study / "trials" / "raw" / "seed-0" / "record.json"
    record = json.loads(path.read_text())
    record["test"]["loss"] = None
    made.write_json(path, record)
    assert analyse(read_study(study))["variants"]["raw"]["test_loss"]["mean"] is None


def test_other_test_items_are_refused(tmp_path):
    study = made.write_study(tmp_path, seeds=2, items=30)
    path = study / "trials" / "raw" / "seed-1" / "predictions.npz"
    with np.load(path) as file:
        np.savez(path, **(dict(file) | {"label": (file["label"] + 1) % 4}))
    with pytest.raises(InputError, match="was tested on other items than"):
        analyse(read_study(study))
