import dataclasses
from itertools import pairwise

import pytest
import torch
from event_files import random_streams

from edgewise.core import InputError
from edgewise.data import EventStreams


def pieces(streams):
    """The slow truth: one tensor a stream."""
    cuts = streams.offsets.tolist()
    return [streams.times[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize("count", [1, 63, 100])
@pytest.mark.parametrize("features", [0, 2])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float64])
def test_batch_pads_on_the_right_with_zeros(count, features, dtype):
    streams = random_streams(count, features=features, dtype=dtype)
    items = torch.randperm(count, generator=torch.Generator().manual_seed(1))[: count // 2 + 1]
    times, lengths, values = streams.batch(items)
    longest = max(1, int(streams.lengths[items].max()))
    assert times.shape == (len(items), longest)
    assert times.dtype == dtype
    assert torch.equal(lengths, streams.lengths[items])
    assert (values is None) == (features == 0)
    for row, item in enumerate(items.tolist()):
        a, b = streams.offsets[item : item + 2].tolist()
        assert torch.equal(times[row, : b - a], streams.times[a:b])
        assert not times[row, b - a :].any()
        if features:
            assert torch.equal(values[row, : b - a], streams.features[a:b])
            assert not values[row, b - a :].any()


def test_batch_of_empty_streams_has_one_column():
    streams = EventStreams(
        torch.zeros(0).double(), torch.zeros(3).long(), torch.tensor([0, 1]), ("a", "b")
    )
    times, lengths, features = streams.batch([1, 0, 1])
    assert times.tolist() == [[0.0], [0.0], [0.0]]
    assert lengths.tolist() == [0, 0, 0]
    assert features is None
    assert streams.empty == 2


def test_batch_of_nothing_is_empty():
    times, lengths, _ = random_streams(3).batch([])
    assert times.shape == (0, 1)
    assert lengths.shape == (0,)


def test_subset_takes_whole_streams_in_the_order_asked():
    streams = random_streams(20, features=1)
    wanted = [7, 0, 7, 3]
    part = streams.subset(wanted)
    assert len(part) == 4
    for ours, item in zip(pieces(part), wanted, strict=True):
        assert torch.equal(ours, pieces(streams)[item])
    assert torch.equal(part.labels, streams.labels[wanted])
    expected = torch.cat(
        [streams.features[streams.offsets[i] : streams.offsets[i + 1]] for i in wanted]
    )
    assert torch.equal(part.features, expected)
    assert (part.name, part.classes, part.feature_names) == ("random", streams.classes, ("u",))


def test_subset_of_nothing():
    part = random_streams(4).subset([])
    assert len(part) == 0
    assert part.times.numel() == 0


def test_properties():
    streams = random_streams(50)
    assert streams.lengths.tolist() == [len(piece) for piece in pieces(streams)]
    assert streams.empty == sum(len(piece) == 0 for piece in pieces(streams)) > 0
    assert streams.num_classes == 3
    assert len(streams) == 50


def test_it_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        random_streams(2).name = "other"


def test_equal_times_and_a_restart_between_streams_are_fine():
    streams = EventStreams(
        torch.tensor([5, 5, 1]), torch.tensor([0, 0, 2, 3]), torch.zeros(3).long(), ("a",)
    )
    assert streams.lengths.tolist() == [0, 2, 1]


GOOD = {
    "times": torch.tensor([1.0, 3.0, 2.0]).double(),
    "offsets": torch.tensor([0, 2, 3]),
    "labels": torch.tensor([0, 1]),
    "classes": ("a", "b"),
    "features": torch.zeros(3, 2),
    "feature_names": ("u", "v"),
    "name": "toy",
}
NAN = torch.tensor([[0, 0], [0, 0], [0, float("inf")]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"times": torch.tensor([1.0, 3.0, 2.0])},
            "times must be a tensor of 1 dimension and dtype int64 or float64, "
            "not float32 of shape (3,)",
        ),
        (
            {"labels": [0, 1]},
            "labels must be a tensor of 1 dimension and dtype int64, not list",
        ),
        (
            {"features": torch.zeros(3, 2).double()},
            "features must be a tensor of 2 dimensions and dtype float32, "
            "not float64 of shape (3, 2)",
        ),
        ({"offsets": torch.tensor([0, 3])}, "2 labels need 3 offsets, not 2"),
        (
            {"offsets": torch.tensor([0, 2, 4])},
            "offsets must go from 0 to the 3 events, not from 0 to 4",
        ),
        (
            {"offsets": torch.tensor([0, 5, 3])},
            "offsets must not decrease, but go from 5 to 3 at stream 1",
        ),
        ({"labels": torch.tensor([0, 2])}, "the label of stream 1 is 2, but labels go from 0 to 1"),
        (
            {"labels": torch.tensor([-1, 0])},
            "the label of stream 0 is -1, but labels go from 0 to 1",
        ),
        (
            {"classes": ("a", "a")},
            "classes must be one or more different names, not ('a', 'a')",
        ),
        (
            {"times": torch.tensor([1.0, float("nan"), 2.0]).double()},
            "the time of event 1 of stream 0 is nan",
        ),
        (
            {"times": torch.tensor([1.0, 3.0, float("inf")]).double()},
            "the time of event 0 of stream 1 is inf",
        ),
        (
            {"times": torch.tensor([3, 1, 2])},
            "times must not decrease, but event 1 of stream 0 is at 1, after 3",
        ),
        ({"feature_names": ("u",)}, "2 features need as many names, not 1"),
        ({"features": None}, "0 features need as many names, not 2"),
        (
            {"features": torch.zeros(4, 2)},
            "features must have a row for each of the 3 events, not 4 rows",
        ),
        ({"features": NAN}, "the feature 'v' of event 0 of stream 1 is inf"),
    ],
)
def test_broken_promises_are_refused(change, message):
    EventStreams(**GOOD)
    with pytest.raises(InputError) as caught:
        EventStreams(**GOOD | change)
    assert str(caught.value) == f"the streams 'toy': {message}"


def test_a_fall_after_empty_streams_is_placed_right():
    with pytest.raises(InputError) as caught:
        EventStreams(
            torch.tensor([9, 1, 2, 1]), torch.tensor([0, 1, 1, 1, 4]), torch.zeros(4).long(), ("a",)
        )
    assert str(caught.value) == (
        "the streams: times must not decrease, but event 2 of stream 3 is at 1, after 2"
    )


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([0, 2], "there is no stream 2 in the streams 'toy': its 2 streams are numbered from 0"),
        ([-1], "there is no stream -1 in the streams 'toy': its 2 streams are numbered from 0"),
        ([[0]], "indices must be one row of integers, not torch.int64 of shape (1, 1)"),
        ([0.5], "indices must be one row of integers, not torch.float32 of shape (1,)"),
    ],
)
def test_wrong_indices_are_refused(indices, message):
    streams = EventStreams(**GOOD)
    for method in (streams.subset, streams.batch):
        with pytest.raises(InputError) as caught:
            method(indices)
        assert str(caught.value) == message
