import re

import pytest
import torch
from event_files import random_streams
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.core import InputError
from edgewise.data import EventDataset, EventStreams, stratified_split


@given(
    members=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    weights=st.lists(st.integers(0, 10), min_size=1, max_size=4),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_counts_are_exact_and_every_class_is_within_one_of_its_share(members, weights, seed):
    labels = torch.arange(len(members)).repeat_interleave(torch.tensor(members))
    total = len(labels)
    if total == 0 or sum(weights) == 0:
        return
    sizes = [total * w // sum(weights) for w in weights]
    sizes[0] += total - sum(sizes)
    parts = stratified_split(labels, sizes, seed)
    assert [len(part) for part in parts] == sizes
    assert sorted(torch.cat(parts).tolist()) == list(range(total))
    for part, size in zip(parts, sizes, strict=True):
        counts = labels[part].bincount(minlength=len(members)).tolist()
        for count, n in zip(counts, members, strict=True):
            assert abs(count - n * size / total) <= 1


@pytest.mark.parametrize(("n", "expected"), [(4, [2, 1, 1]), (5, [3, 1, 1]), (100, [60, 20, 20])])
def test_fractions_divide_every_class_by_itself(n, expected):
    labels = torch.arange(3).repeat(n)
    parts = stratified_split(labels, (0.6, 0.2, 0.2), seed=4)
    for part, count in zip(parts, expected, strict=True):
        assert labels[part].bincount().tolist() == [count] * 3


def test_the_choice_depends_on_the_seed_only():
    labels = torch.arange(10).repeat(10)
    ours, again, other = (stratified_split(labels, (50, 50), seed)[0] for seed in (1, 1, 2))
    assert torch.equal(ours, again)
    assert not torch.equal(ours, other)
    assert torch.equal(ours, ours.sort().values)


def test_each_member_is_as_likely_as_another():
    labels = torch.tensor([0] * 10 + [1] * 10)
    hits = torch.zeros(20)
    for seed in range(400):
        hits[stratified_split(labels, (4, 16), seed)[0]] += 1
    assert hits.sum() == 1600
    assert (hits - 80).abs().max() < 32  # four standard deviations of 400 draws at 1/5


@pytest.mark.parametrize(
    ("labels", "sizes", "seed", "message"),
    [
        (
            [0, 1],
            (1, 2),
            0,
            "counts must not be negative and must sum to the 2 labels, not (1, 2)",
        ),
        (
            [0, 1],
            (-1, 3),
            0,
            "counts must not be negative and must sum to the 2 labels, not (-1, 3)",
        ),
        (
            [0, 1],
            (0.5, 0.6),
            0,
            "fractions must not be negative and must sum to 1, not (0.5, 0.6)",
        ),
        ([0, 1], (1, 0.5), 0, "sizes must be all counts or all fractions, not (1, 0.5)"),
        ([0, 1], (1, 1), -3, "the seed of a split must be at least 0, not -3"),
        ([], (0, 0), 0, "there are no labels to split"),
    ],
)
def test_bad_requests_are_refused(labels, sizes, seed, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        stratified_split(torch.tensor(labels, dtype=torch.int64), sizes, seed)


def test_the_card_counts_the_parts():
    parts = [random_streams(10, seed=seed) for seed in range(3)]
    data = EventDataset.described("toy", parts, {"source": "here", "options": {"k": 1}})
    assert (data.train, data.validation, data.test) == tuple(parts)
    assert data.card["name"] == data.name == "toy"
    assert data.card["source"] == "here"
    assert data.card["sizes"] == {"train": 10, "validation": 10, "test": 10}
    assert data.card["empty"]["test"] == parts[2].empty
    assert data.card["events"]["train"]["max"] == int(parts[0].lengths.max())
    assert data.card["classes"] == ["a", "b", "c"]


def test_parts_must_agree():
    a, b = random_streams(4), random_streams(4, classes=2)
    with pytest.raises(InputError) as caught:
        EventDataset(a, a, b, "toy", {})
    assert str(caught.value) == (
        "the data set 'toy': train and test must have the same classes, "
        "not ('a', 'b', 'c') and ('a', 'b')"
    )
    c = EventStreams(a.times.double(), a.offsets, a.labels, a.classes)
    with pytest.raises(InputError) as caught:
        EventDataset(a, c, a, "toy", {})
    assert str(caught.value) == (
        "the data set 'toy': train and validation must have times of one dtype"
    )
