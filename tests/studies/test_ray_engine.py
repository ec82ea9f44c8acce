"""Trials on Ray: the same records, whatever happens to the nodes."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_study import kept_files, small_study

from edgewise.core import InputError, RunError, read_json
from edgewise.studies import run_study
from edgewise.studies.running.attempt import Work
from edgewise.studies.running.engine import make_engine
from edgewise.studies.running.ray_engine import GIB, RayEngine, _slots, _try, _unpack
from edgewise.studies.running.trial import make_trial

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'edgewise[ray]'")
# Ray's own, on the way in and out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def cluster_of(*nodes):
    """What is asked of Ray's module: its nodes."""
    return SimpleNamespace(nodes=lambda: [{"Alive": up, "Resources": has} for up, has in nodes])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpus": 0}, "cpus must be above 0, got 0"),
        ({"gpus": -1}, "gpus must be at least 0, got -1"),
        ({"memory": -0.5}, "memory must be at least 0, got -0.5"),
        ({"retries": -1}, "retries must be at least 0, got -1"),
        ({"threads": 2}, "--threads goes with --engine local only: leave it out"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError) as error:
        make_engine("ray", **options)
    assert str(error.value) == message


def test_a_gpu_study_without_gpus_is_refused(tmp_path):
    with (
        pytest.raises(InputError) as error,
        RayEngine().ready(replace(small_study(), device="cuda")),
    ):
        pass
    assert str(error.value) == (
        "device is 'cuda', but a trial gets no GPU: give --gpus 1, or a part of one"
    )


def test_room_is_counted_on_living_nodes_only():
    nodes = cluster_of(
        (True, {"CPU": 4.0, "memory": 8.0 * GIB}), (True, {"CPU": 1.0}), (False, {"CPU": 64.0})
    )
    assert _slots(nodes, {"CPU": 1.0}) == 5
    assert _slots(nodes, {"CPU": 0.1}) == 50
    assert _slots(nodes, {"CPU": 1.0, "memory": 3.0 * GIB}) == 2
    assert _slots(nodes, {"CPU": 8.0}) == 0


@pytest.fixture
def fetched(monkeypatch):
    """The data stand for their own reference."""
    monkeypatch.setattr("edgewise.studies.running.ray_engine._fetched", lambda reference: reference)


@pytest.mark.usefixtures("fetched")
def test_a_node_that_does_not_see_the_folder_sends_the_files(tmp_path):
    study = small_study(encoders=("learned",), seeds=1)
    run_study(study, tmp_path / "local")
    trial, data = make_trial(study, study.variants()[0], 0), study.load()
    work = Work(study, tmp_path / "ray")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / ".driver").write_text("of another driver")
    event, files = _try(trial, work, [data], "token", 1)
    assert event == {"kind": "done", "trial": "learned seed 0"}
    assert not (tmp_path / "ray" / "trials").exists()
    _unpack(files, tmp_path / "ray")
    assert kept_files(tmp_path / "ray") == kept_files(tmp_path / "local")
    assert (tmp_path / "ray" / "logs" / "learned_seed-0.csv").exists()
    (tmp_path / "ray" / ".driver").write_text("token")
    assert _try(trial, work, [data], "token", 1) == (event, {})


def test_files_from_a_node_stay_in_the_folder(tmp_path):
    for name in ("../record.json", "/etc/record.json", "trials/../../x"):
        with pytest.raises(RunError) as error:
            _unpack({name: b""}, tmp_path / "study")
        assert str(error.value) == (
            f"a node sent the file {name!r}, which would leave {tmp_path / 'study'}"
        )
    assert not list(tmp_path.iterdir())


@pytest.fixture
def two_nodes():
    """A cluster of two nodes with one core each; the driver is on the first."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixty_trials_on_two_nodes_of_which_one_dies(two_nodes, tmp_path):
    cluster, second = two_nodes
    study = small_study(encoders=("raw", "learned", "sinusoidal"), seeds=20, limit=60)
    seen: list[dict] = []

    def watch(event):
        seen.append(event)
        if len([e for e in seen if e["kind"] == "done"]) == 15 and cluster.worker_nodes:
            cluster.remove_node(second, allow_graceful=False)

    run_study(study, tmp_path / "ray", engine=RayEngine(), on_event=watch)
    done = [e["trial"] for e in seen if e["kind"] == "done"]
    assert sorted(done) == sorted(set(done))
    assert len(done) == 60
    assert not [e for e in seen if e["kind"] == "failed"]
    assert not list(tmp_path.rglob("failure.json"))
    run_study(study, tmp_path / "local")
    assert kept_files(tmp_path / "ray") == kept_files(tmp_path / "local")
    assert [e["kind"] for e in seen if e.get("trial") == done[-1]][-1] == "done"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_no_node_can_hold_is_refused_before_anything_is_written(two_nodes, tmp_path):
    study = small_study()
    with pytest.raises(InputError) as error:
        run_study(study, tmp_path / "out", engine=RayEngine(cpus=8))
    assert str(error.value).startswith(
        "no node of the Ray cluster has room for a trial of 8 CPU: the largest has 1 CPU, 0 GPU, "
    )
    assert not (tmp_path / "out").exists()


def test_no_cluster_at_the_address(tmp_path):
    if ray.is_initialized():
        pytest.skip("a cluster is connected")
    with pytest.raises(InputError) as error, RayEngine(address="nonsense").ready(small_study()):
        pass
    assert str(error.value).startswith("no Ray cluster answers at 'nonsense' (")
    assert str(error.value).endswith("): start one with `ray start --head`, or leave --address out")


def test_the_engine_is_not_part_of_the_study(tmp_path):
    run_study(small_study(encoders=("raw",), seeds=1), tmp_path)
    assert "engine" not in read_json(tmp_path / "config.json")
    assert json.loads((tmp_path / "plan.json").read_text())["trials"] == [
        {"trial": "raw seed 0", "variant": "raw", "folder": "trials/raw/seed-0", "epochs": 2}
    ]
    assert not Path(tmp_path / "driver.json").exists()
