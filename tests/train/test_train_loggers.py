import pytest
from torch import nn

from edgewise.core import InputError, MissingExtraError
from edgewise.train import check_loggers, make_loggers
from edgewise.train.loggers import LOGGERS, numbers

ROWS = [
    {"epoch": 1, "train_loss": 0.5, "train_accuracy": None, "expert_usage": {"selected": [1, 0]}},
    {"epoch": 2, "train_loss": 0.25, "train_accuracy": None, "expert_usage": {"selected": [0, 1]}},
]


@pytest.fixture
def shelf():
    said = []

    @LOGGERS.register("list")
    class Listed:
        def __init__(self, folder, run):
            self.run = run

        def __call__(self, row, model=None):
            said.append((self.run, row["epoch"]))

        def close(self):
            said.append((self.run, "closed"))

    yield said
    del LOGGERS._entries["list"]


def test_loggers_are_closed_whatever_happens(shelf, tmp_path):
    def killed(row):
        log(row, nn.Identity())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), make_loggers(["list"], tmp_path, "a") as (log,):
        killed(ROWS[0])
    assert shelf == [("a", 1), ("a", "closed")]


def test_only_finite_numbers_are_sent():
    row = {"epoch": 1, "a": float("nan"), "b": None, "c": "word", "d": [1, {"e": 2.5}], "f": True}
    assert numbers(row) == {"d/0": 1.0, "d/1/e": 2.5, "f": 1.0}


def test_a_word_is_no_list_of_names():
    with pytest.raises(InputError) as error:
        check_loggers("tensorboard")
    assert str(error.value) == "loggers must be a list of names, got 'tensorboard'"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_an_absent_package_is_named(name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(MissingExtraError) as error:
        check_loggers([name])
    assert str(error.value) == (f"this needs the package {name!r}: pip install 'edgewise[loggers]'")


@pytest.mark.slow
def test_tensorboard_has_every_epoch_once(tmp_path):
    pytest.importorskip("tensorboard", reason="needs TensorBoard: pip install 'edgewise[loggers]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # Killed in epoch 2, then taken up again there.
    for rows in (ROWS, ROWS[1:]):
        with make_loggers(["tensorboard"], tmp_path, "a_seed-0") as (log,):
            for row in rows:
                log(row)
    found = EventAccumulator(str(tmp_path / "tensorboard" / "a_seed-0"))
    found.Reload()
    assert sorted(found.Tags()["scalars"]) == [
        "expert_usage/selected/0",
        "expert_usage/selected/1",
        "train_loss",
    ]
    assert [(e.step, e.value) for e in found.Scalars("train_loss")] == [(1, 0.5), (2, 0.25)]


@pytest.mark.slow
def test_mlflow_has_one_run_that_is_taken_up_again(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs MLflow: pip install 'edgewise[loggers]'")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    for rows in (ROWS[:1], ROWS[1:]):
        with make_loggers(["mlflow"], tmp_path / "study" / "logs", "a_seed-0") as (log,):
            for row in rows:
                log(row)
    client = MlflowClient()
    experiment = client.get_experiment_by_name("study")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("a_seed-0", "FINISHED")
    history = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.25)]


def test_mlflow_without_a_server_is_refused(monkeypatch):
    pytest.importorskip("mlflow", reason="needs MLflow: pip install 'edgewise[loggers]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(InputError) as error:
        check_loggers(["mlflow"])
    assert str(error.value) == (
        "the logger 'mlflow' needs to know its server: set MLFLOW_TRACKING_URI, for instance to "
        "http://127.0.0.1:5000"
    )
