import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from train_toys import ToyBatch, Toys, network

from edgewise.core import InputError, RunError, generator
from edgewise.train import evaluate


class Given:
    """Batches as they are given."""

    def __init__(self, *batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def epoch(self, number):
        return iter(self.batches)


@pytest.mark.parametrize("n", [1, 63, 100])
def test_it_is_the_plain_formula_over_all_examples(n):
    data = Toys(n=n, dtype=torch.float64)
    model = network(torch.float64)
    result = evaluate(model, data)
    logits = model(data.x)
    assert result.loss == pytest.approx(cross_entropy(logits, data.y).item(), abs=1e-14)
    assert result.accuracy == (logits.argmax(1) == data.y).double().mean().item()
    assert torch.equal(result.items, torch.arange(n))
    assert torch.equal(result.labels, data.y)
    assert torch.equal(result.predictions, logits.argmax(1))
    assert result.probabilities.dtype == torch.float32
    torch.testing.assert_close(result.probabilities, logits.softmax(1).float())


def test_the_order_of_examples_and_batches_changes_nothing():
    """Identity, so that a row's prediction can't depend on the rows beside it."""
    draw = generator(0, "orders")
    logits = torch.randn(63, 3, generator=draw)
    target = torch.arange(63) % 3
    orders = [torch.arange(63), torch.randperm(63, generator=draw), torch.arange(63).flip(0)]
    results = [
        evaluate(
            nn.Identity(),
            Given(*(ToyBatch((logits[i],), target[i], i) for i in order.split(size))),
        )
        for order in orders
        for size in (1, 16, 63)
    ]
    for result in results[1:]:
        assert result.loss == results[0].loss
        assert result.accuracy == results[0].accuracy
        assert torch.equal(result.items, results[0].items)
        assert torch.equal(result.labels, results[0].labels)
        assert torch.equal(result.predictions, results[0].predictions)
        assert torch.equal(result.probabilities, results[0].probabilities)


def test_a_small_batch_weighs_no_more_than_its_examples():
    right, wrong = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 9.0]])
    three = ToyBatch((right.repeat(3, 1),), torch.zeros(3).long(), torch.tensor([0, 1, 2]))
    one = ToyBatch((wrong,), torch.zeros(1).long(), torch.tensor([3]))
    assert evaluate(nn.Identity(), Given(three, one)).accuracy == 0.75


def test_regression_has_no_accuracy():
    data = Toys(regress=True)
    model = network(out=1)
    result = evaluate(model, data, mse_loss)
    assert result.accuracy is None
    assert result.probabilities is None
    assert torch.equal(result.labels, data.y)
    torch.testing.assert_close(result.predictions, model(data.x).detach())
    assert not result.predictions.requires_grad


def test_modes_and_random_state_are_left_alone():
    model = network(dropout=0.5, norm=True)
    model[1].eval()
    before = [m.training for m in model.modules()]
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.random.get_rng_state()
    first, second = evaluate(model, Toys()), evaluate(model, Toys())
    assert torch.equal(first.probabilities, second.probabilities)
    assert [m.training for m in model.modules()] == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_modes_come_back_after_an_error():
    model = network()
    model.train()
    with pytest.raises(RuntimeError):
        evaluate(
            model, Given(ToyBatch((torch.zeros(1, 5),), torch.zeros(1).long(), torch.zeros(1)))
        )
    assert model.training


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_close_and_judged_in_full(precision):
    exact, half = (evaluate(network(), Toys(), precision=p) for p in ("float32", precision))
    assert half.loss == pytest.approx(exact.loss, rel=0.02)
    assert half.loss != exact.loss
    assert half.probabilities.sum(1).sub(1).abs().max() < 1e-6


def batch(logits, items):
    return ToyBatch((torch.tensor(logits),), torch.zeros(len(items)).long(), torch.tensor(items))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (
            [batch([[1.0, 2.0]], [4]), batch([[1.0, 2.0]], [4])],
            "the item 4 comes twice in batches: give each item once",
        ),
        ([], "batches has no batches: give at least one"),
    ],
)
def test_a_bad_set_is_refused(batches, message):
    with pytest.raises(InputError) as error:
        evaluate(nn.Identity(), Given(*batches))
    assert str(error.value) == message


def test_a_set_that_gives_nothing_is_refused():
    class Empty(Given):
        def epoch(self, number):
            return iter(())

    with pytest.raises(InputError) as error:
        evaluate(nn.Identity(), Empty(1))
    assert str(error.value) == "batches gave nothing in epoch 0: give at least one batch"


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError) as error:
        evaluate(nn.Identity(), Toys(), precision="float8")
    assert str(error.value).startswith("unknown precision 'float8': did you mean 'float")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([7], "the loss is nan: the predictions are not finite for item 7"),
        ([7, 2], "the loss is nan: the predictions are not finite for items 2, 7"),
        (
            list(range(9)),
            "the loss is nan: the predictions are not finite for "
            "items 0, 1, 2, 3, 4, ... (9 in all)",
        ),
    ],
)
def test_nan_names_its_items(bad, message):
    logits = torch.zeros(9, 2)
    logits[bad] = torch.nan
    items = torch.arange(9).flip(0)
    data = Given(ToyBatch((logits[items],), torch.zeros(9).long(), items))
    with pytest.raises(RunError) as error:
        evaluate(nn.Identity(), data)
    assert str(error.value) == message


def test_an_infinite_loss_of_finite_predictions_points_at_the_targets():
    data = Given(ToyBatch((torch.zeros(1, 1),), torch.full((1, 1), torch.inf), torch.zeros(1)))
    with pytest.raises(RunError) as error:
        evaluate(nn.Identity(), data, mse_loss)
    assert str(error.value) == (
        "the loss is inf though every prediction is finite: look at the targets"
    )


def test_masked_classes_may_be_minus_infinity():
    data = Given(batch([[1.0, -torch.inf]], [0]))
    assert evaluate(nn.Identity(), data).loss == 0.0
