from itertools import chain, pairwise

import pytest
import torch
from event_files import random_streams

from edgewise.core import InputError
from edgewise.data import Batch, Batches


def order(batches, epoch):
    return [batch.items.tolist() for batch in batches.epoch(epoch)]


@pytest.mark.parametrize("count", [1, 63, 100])
@pytest.mark.parametrize(("batch_size", "pool"), [(1, 1), (7, 2), (10, 20), (200, 1)])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_item_once_an_epoch(count, batch_size, pool, shuffle):
    batches = Batches(random_streams(count), batch_size, shuffle=shuffle, pool=pool)
    made = order(batches, 3)
    assert sorted(chain(*made)) == list(range(count))
    assert len(made) == len(batches) == -(-count // batch_size)
    assert sum(len(batch) != batch_size for batch in made) <= 1


def test_the_order_is_a_function_of_seed_and_epoch():
    streams = random_streams(100)
    ours = order(Batches(streams, 8, seed=5), 2)
    torch.rand(3)  # what else is drawn does not matter
    again = Batches(streams, 8, seed=5)
    order(again, 0)  # nor which epochs came before
    assert order(again, 2) == ours
    assert order(again, 3) != ours
    assert order(Batches(streams, 8, seed=6), 2) != ours


def test_shuffling_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    order(Batches(random_streams(10), 2), 0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_pool_is_sorted_by_length():
    streams = random_streams(96, longest=50)
    # One pool holds everything: the batches, put in order, are all lengths in order.
    ends = []
    for batch in Batches(streams, 8, pool=12).epoch(0):
        lengths = batch.inputs[1]
        assert torch.equal(lengths, lengths.sort().values)
        ends.append((int(lengths[0]), int(lengths[-1])))
    ends.sort()
    assert all(a[1] <= b[0] for a, b in pairwise(ends))


def test_batches_of_an_epoch_are_not_in_order_of_length():
    means = [
        b.inputs[1].double().mean() for b in Batches(random_streams(96, longest=50), 4).epoch(0)
    ]
    assert means != sorted(means)


def test_bucketing_saves_padding():
    streams = random_streams(1000, longest=50)

    def padding(pool):
        batches = list(Batches(streams, 10, pool=pool).epoch(0))
        return 1 - sum(int(b.inputs[1].sum()) for b in batches) / sum(
            b.inputs[0].numel() for b in batches
        )

    assert padding(20) < 0.15 < 0.4 < padding(1)


def test_without_shuffling_items_are_sorted_by_length_and_stable():
    streams = random_streams(40, longest=3)
    batches = Batches(streams, 16, seed=1, shuffle=False)
    items = list(chain(*order(batches, 0)))
    assert items == sorted(range(40), key=lambda i: int(streams.lengths[i]))
    assert order(batches, 9) == order(batches, 0)


@pytest.mark.parametrize("features", [0, 2])
def test_a_batch_holds_what_its_items_say(features):
    streams = random_streams(30, features=features)
    for batch in Batches(streams, 7).epoch(0):
        assert isinstance(batch, Batch)
        expected = [part for part in streams.batch(batch.items) if part is not None]
        assert len(batch.inputs) == len(expected) == (3 if features else 2)
        assert all(torch.equal(a, b) for a, b in zip(batch.inputs, expected, strict=True))
        assert torch.equal(batch.target, streams.labels[batch.items])


def test_to_moves_every_tensor():
    moved = next(Batches(random_streams(4, features=1), 2).epoch(0)).to("meta")
    assert {t.device.type for t in (*moved.inputs, moved.target, moved.items)} == {"meta"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"batch_size": 1, "pool": 0}, "pool must be at least 1, not 0"),
        ({"batch_size": 1, "seed": -1}, "seed must be at least 0, not -1"),
    ],
)
def test_small_numbers_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        Batches(random_streams(3), **options)
    assert str(caught.value) == message


def test_no_streams_and_no_such_epoch():
    with pytest.raises(InputError, match=r"^there are no streams to make batches of$"):
        Batches(random_streams(3).subset([]), 2)
    with pytest.raises(InputError, match=r"^epochs are counted from 0, there is no epoch -1$"):
        Batches(random_streams(3), 2).epoch(-1)  # at once, not at the first batch
