"""Searches: the same points after a kill, nothing of the test split, clear refusals."""

import json

import pytest
from small_study import small_study

from edgewise.cli.main import run
from edgewise.core import InputError, read_json
from edgewise.studies.records.records import read_study
from edgewise.studies.search.search import best, search
from edgewise.studies.search.space import make_space

pytest.importorskip("optuna", reason="needs Optuna: pip install 'edgewise[search]'")

SMALL = {
    **{key: getattr(small_study(), key) for key in ("epochs", "dim", "batch_size", "workers")},
    "limit": 60,
    "encoders": ["raw", "lete"],
    "seeds": 1,
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "hidden_dim": [4, 8],
}


def said(tried):
    return [(one.state, one.score, one.epochs, one.values) for one in tried]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole") / "search"
    return root, search(make_space(SMALL), root, 10)


def test_points_lie_in_the_space_and_are_written(whole):
    root, tried = whole
    assert [one.number for one in tried] == list(range(10))
    for one in tried:
        assert 1e-4 <= one.values["learning_rate"] <= 1e-1
        assert one.values["hidden_dim"] in (4, 8)
        assert one.values["encoder"] in ("raw", "lete")
        assert one.point["hidden_dim"] == one.values["hidden_dim"]
        assert one.point["encoders"] == [one.values["encoder"]]
    assert len({json.dumps(one.values) for one in tried}) > 5
    kept = read_json(root / "search.json")
    assert [one["score"] for one in kept] == [one.score for one in tried]
    assert best(tried).score == max(one.score for one in tried if one.state == "complete")
    assert not list((root / "runs").iterdir())


def test_a_search_that_was_killed_goes_on_with_the_same_points(whole, tmp_path):
    root, count = tmp_path / "killed", []

    def kill(event):
        count.append(event["kind"])
        if event["kind"] == "epoch" and count.count("epoch") in (2, 7):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            search(make_space(SMALL), root, 10, on_event=kill)
        # And in the middle of a line.
        with open(root / "journal.log", "ab") as file:
            file.write(b'{"op_code": 4, "wor')
        (root / "journal.log.lock").touch()
    again = search(make_space(SMALL), root, 10)
    assert said(again) == said(whole[1])


def test_more_trials_are_added(whole, tmp_path):
    search(make_space(SMALL), tmp_path / "s", 4)
    assert said(search(make_space(SMALL), tmp_path / "s", 10)) == said(whole[1])


def test_the_test_split_is_not_looked_at(tmp_path, monkeypatch):
    from edgewise.studies.kinds.encoder_study import EncoderStudy

    plain, seen = EncoderStudy.batches, set()

    def watched(self, dataset, part, seed=None):
        seen.add(part)
        return plain(self, dataset, part, seed)

    monkeypatch.setattr(EncoderStudy, "batches", watched)
    search(make_space(SMALL), tmp_path / "s", 2)
    assert seen == {"train", "validation"}


def test_hopeless_trials_are_pruned(tmp_path):
    values = SMALL | {"epochs": 6, "learning_rate": {"low": 1e-8, "high": 1e-1, "log": True}}
    tried = search(make_space(values), tmp_path / "s", 20)
    pruned = [one for one in tried if one.state == "pruned"]
    assert pruned
    assert all(1 < one.epochs < 6 for one in pruned)
    assert all(one.epochs == 6 for one in tried if one.state == "complete")
    assert not [one for one in tried[:8] if one.state == "pruned"]


def test_another_search_is_refused(whole, tmp_path):
    root, _ = whole
    with pytest.raises(InputError) as error:
        search(make_space(SMALL | {"epochs": 3}), root, 12)
    assert str(error.value).startswith(f"{root} holds another search: there fixed is {{")
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(InputError) as error:
        search(make_space(SMALL), tmp_path, 2)
    assert str(error.value) == (
        f"{tmp_path} is not empty and holds no search (it has 'thesis.tex'); choose another folder "
        f"for --out"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": {"low": 2}}, 'must be {"low": number, "high": number} with'),
        ({"dim": {"low": 8, "high": 2}}, "dim must have low < high, got {'low': 8, 'high': 2}"),
        (
            {"dropout": {"low": 0.0, "high": 0.5, "log": True}},
            "dropout must have low > 0 on a logarithmic scale, got ",
        ),
        ({"dim": {"low": 2, "high": 4, "lg": True}}, 'dim must be {"low": number, '),
        ({"dim": []}, "dim is an empty list; give it at least one value"),
        ({"limit": [10, 20]}, "limit can't be searched: all trials share the data"),
        ({"dropout": {"low": 0.5, "high": 1.5}}, "dropout must lie in [0, 1), got 1.5"),
        ({"epoch": [1, 2]}, "has an unknown key 'epoch': did you mean 'epochs'?"),
        ({"schedule": ["cosine", "cosin"]}, "unknown schedule 'cosin': did you mean 'cosine'?"),
        ({"encoders": []}, "encoders must be a list of names, got []"),
    ],
)
def test_bad_spaces_are_refused(changes, message):
    with pytest.raises(InputError) as error:
        make_space(SMALL | changes)
    assert message in str(error.value)


def test_a_space_where_nothing_moves_is_refused():
    with pytest.raises(InputError) as error:
        make_space({"encoders": ["raw"]}, "study.json")
    assert str(error.value) == (
        'study.json: nothing moves; give a list of choices or {"low": …, "high": …} for what is '
        "searched"
    )


def test_options_of_a_subject_move_with_it_only():
    values = SMALL | {"encoder_options": {"lete": {"layer_norm": [True, False]}}}
    space = make_space(values)
    assert {p.name for own in space.options.values() for p in own} == {"lete.layer_norm"}
    points = list(space.corners())
    assert next(p["encoder_options"] for p in points if p["encoders"] == ["lete"]) == {
        "lete": {"layer_norm": True}
    }
    assert all("encoder_options" not in p for p in points if p["encoders"] == ["raw"])
    assert space.moved(points[-1])["lete.layer_norm"] is False


def test_the_command_tests_the_best_once(tmp_path, capsys):
    config = tmp_path / "search.json"
    config.write_text(json.dumps(SMALL))
    words = ["search", str(config), "--out", str(tmp_path / "out"), "--trials", "3"]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "The best settings: " in shown
    point = read_json(tmp_path / "out" / "best.json")
    records = read_study(tmp_path / "out" / "best")
    assert len(records.trials) == 1
    assert records.config["learning_rate"] == point["learning_rate"]
    assert (tmp_path / "out" / "search.png").stat().st_size > 5_000
    assert run(words) == 0
