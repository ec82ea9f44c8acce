import sys
from types import SimpleNamespace

import pytest
import torch

import edgewise as ew
from edgewise.core import InputError, MissingExtraError, RunError

hub = pytest.importorskip("huggingface_hub", reason="pip install 'edgewise[hub]'")


def refusal(kind):
    """An error of the hub's, as its client raises it."""
    return kind("not there", response=SimpleNamespace(headers={}, request=None))


@pytest.fixture
def model():
    return ew.models.KAN([2, 3, 1])


def test_a_folder_holds_weights_and_a_card(model, tmp_path):
    folder = ew.export.save_pretrained(model, tmp_path / "kan", {"seed": 1}, licence="mit")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "model.safetensors"]
    assert ew.export.read_notes(folder / "model.safetensors") == {"seed": 1}
    assert "# kan\n" in (folder / "README.md").read_text(encoding="utf-8")
    x = torch.rand(4, 2)
    assert torch.equal(ew.export.from_pretrained(folder)(x), model(x))
    assert torch.equal(ew.export.from_pretrained(str(folder))(x), model(x))


def test_code_in_the_folder_is_left_alone(model, tmp_path):
    ew.export.save_pretrained(model, tmp_path)
    for name in ("modeling.py", "__init__.py", "pytorch_model.bin", "config.json"):
        (tmp_path / name).write_text("raise SystemExit")
    assert type(ew.export.from_pretrained(tmp_path)) is ew.models.KAN


def test_it_is_pushed_with_its_card(model, monkeypatch):
    seen = {}

    class Api:
        def create_repo(self, name, *, private, exist_ok):
            seen["repo"] = (name, private, exist_ok)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            from pathlib import Path

            seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())
            seen["card"] = (Path(folder_path) / "README.md").read_text(encoding="utf-8")
            seen["commit"] = (repo_id, commit_message)
            return SimpleNamespace(commit_url="https://hub.test/1")

    monkeypatch.setattr(hub, "HfApi", Api)
    found = ew.export.push_to_hub(model, "me/kan", {"seed": 1}, metrics={"r": 1}, private=True)
    assert found == "https://hub.test/1"
    assert seen["repo"] == ("me/kan", True, True)
    assert seen["files"] == ["README.md", "model.safetensors"]
    assert seen["commit"] == ("me/kan", "Add a model")
    assert 'from_pretrained("me/kan")' in seen["card"]


def test_it_is_fetched_by_name_and_revision(model, monkeypatch, tmp_path):
    ew.export.save_pretrained(model, tmp_path)
    asked = []

    def download(name, file, revision):
        asked.append((name, file, revision))
        return str(tmp_path / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    again = ew.export.from_pretrained("me/kan", revision="v1")
    x = torch.rand(4, 2)
    assert torch.equal(again(x), model(x))
    assert asked == [("me/kan", "model.safetensors", "v1")]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            lambda: refusal(hub.errors.RepositoryNotFoundError),
            InputError,
            "the hub has no model 'me/kan' at 'v1', or you may not see it",
        ),
        (
            lambda: refusal(hub.errors.RevisionNotFoundError),
            InputError,
            "the hub has no model 'me/kan' at 'v1', or you may not see it",
        ),
        (
            lambda: refusal(hub.errors.RemoteEntryNotFoundError),
            InputError,
            "'me/kan' on the hub has no model.safetensors: it is no model of Edgewise",
        ),
        (
            lambda: hub.errors.LocalEntryNotFoundError("no network, nothing kept"),
            RunError,
            "'me/kan' can't be fetched from the hub: no network, nothing kept",
        ),
        (
            lambda: ConnectionError("no\nnetwork"),
            RunError,
            "'me/kan' can't be fetched from the hub: no network",
        ),
    ],
)
def test_what_the_hub_says_becomes_one_sentence(monkeypatch, error, kind, message):
    def download(*arguments, **options):
        raise error()

    monkeypatch.setattr(hub, "hf_hub_download", download)
    with pytest.raises(kind) as caught:
        ew.export.from_pretrained("me/kan", revision="v1")
    assert str(caught.value) == message


def test_a_hub_that_refuses_the_push_is_named(model, monkeypatch):
    class Api:
        def create_repo(self, name, **options):
            raise ValueError("no token")

    monkeypatch.setattr(hub, "HfApi", Api)
    with pytest.raises(RunError) as caught:
        ew.export.push_to_hub(model, "me/kan")
    assert str(caught.value) == "the hub did not take 'me/kan': no token"


@pytest.mark.parametrize("name", ["kan", "a/b/c", "../x/y", "me/", "/me", "me/kan?x"])
def test_a_name_that_is_none_is_refused(model, name):
    with pytest.raises(InputError) as caught:
        ew.export.push_to_hub(model, name)
    assert str(caught.value) == f"a model on the hub is called 'user/name', got {name!r}"
    with pytest.raises(InputError) as caught:
        ew.export.from_pretrained(name)
    assert str(caught.value) == f"there is no folder {name}, and a model on the hub is 'user/name'"


def test_a_revision_of_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError) as caught:
        ew.export.from_pretrained(tmp_path, revision="v1")
    assert str(caught.value) == f"revision is for models on the hub; {tmp_path} is a folder"


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(InputError) as caught:
        ew.export.from_pretrained(tmp_path)
    assert str(caught.value) == f"there is no file {tmp_path / 'model.safetensors'}"


@pytest.mark.parametrize(
    "use",
    [
        lambda: ew.export.push_to_hub(ew.models.MLP([2, 1]), "me/kan"),
        lambda: ew.export.from_pretrained("me/kan"),
    ],
)
def test_without_the_package_the_extra_is_named(use, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError) as caught:
        use()
    assert str(caught.value) == (
        "this needs the package 'huggingface_hub': pip install 'edgewise[hub]'"
    )
