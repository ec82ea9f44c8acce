import pytest
import torch
from torch import nn
from train_toys import Toys

from edgewise.core import InputError
from edgewise.train.source import check_source, is_classification, is_integer, place


def test_a_source_is_accepted():
    check_source(Toys(), "train")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            [1],
            "train is a list: give an object with len() and epoch(number), "
            "as edgewise.data.Batches is",
        ),
        (Toys(n=0), "train has no batches: give at least one"),
    ],
)
def test_what_is_no_source_is_refused(source, message):
    with pytest.raises(InputError) as error:
        check_source(source, "train")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("dtype", "labels"),
    [(torch.int64, True), (torch.uint8, True), (torch.bool, False), (torch.float32, False)],
)
def test_labels_are_whole_numbers(dtype, labels):
    target = torch.zeros(4).to(dtype)
    assert is_integer(target) is labels
    assert is_classification(torch.zeros(4, 2), target) is labels
    assert not is_classification(torch.zeros(4), target)


def test_the_device_is_the_models_own_unless_told():
    assert place(nn.Linear(1, 1), None) == torch.device("cpu")
    assert place(nn.Identity(), None) == torch.device("cpu")
    assert place(nn.Linear(1, 1, device="meta"), None) == torch.device("meta")
    assert place(nn.Linear(1, 1), "cpu") == torch.device("cpu")


def test_a_model_is_moved():
    model = nn.Linear(1, 1)
    place(model, "meta")
    assert model.weight.device.type == "meta"


def test_an_unknown_device_is_refused():
    with pytest.raises(InputError, match=r"^the device 'gpu' can't be used: .*device"):
        place(nn.Linear(1, 1), "gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_an_absent_device_is_refused():
    with pytest.raises(InputError, match=r"^the device 'cuda' can't be used: "):
        place(nn.Linear(1, 1), "cuda")
