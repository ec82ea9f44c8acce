import math

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from train_toys import Toys, network, same_state

from edgewise.core import InputError, RunError
from edgewise.train import Settings, evaluate, fit

DOUBLE = torch.float64


def naive(model, data, validation, epochs, lr, decay, clip, warmup):
    """Training written out: one batch to a step, AdamW by its formulas, cosine schedule."""
    named = dict(model.named_parameters())
    m = {k: torch.zeros_like(p) for k, p in named.items()}
    v = {k: torch.zeros_like(p) for k, p in named.items()}
    t, steps, rows = 0, epochs * len(data), []
    climb = round(warmup * steps)
    for epoch in range(1, epochs + 1):
        losses, hits, norms, penalties, n = 0.0, 0, [], 0.0, 0
        for (x,), y, _ in data.epoch(epoch):
            if t < climb:
                rate = lr * (1 / 25 + 24 / 25 * t / climb)
            else:
                angle = math.pi * (t - climb) / (steps - 1 - climb)
                rate = lr * (1e-4 + (1 - 1e-4) * (1 + math.cos(angle)) / 2)
            t += 1
            logits = model(x)
            loss = -logits.log_softmax(1)[range(len(y)), y].mean()
            penalty = 0.01 * named["0.weight"].abs().sum()
            found = torch.autograd.grad(loss + penalty, list(named.values()))
            grads = dict(zip(named, found, strict=True))
            norm = math.sqrt(sum(float((g**2).sum()) for g in grads.values()))
            shrink = min(1.0, clip / (norm + 1e-6))
            with torch.no_grad():
                for k, p in named.items():
                    g = grads[k] * shrink
                    m[k] = 0.9 * m[k] + 0.1 * g
                    v[k] = 0.999 * v[k] + 0.001 * g**2
                    if p.ndim >= 2:
                        p -= rate * decay * p
                    step = (m[k] / (1 - 0.9**t)) / ((v[k] / (1 - 0.999**t)).sqrt() + 1e-8)
                    p -= rate * step
            losses += loss.item() * len(y)
            penalties += penalty.item() * len(y)
            hits += int((logits.argmax(1) == y).sum())
            norms.append(norm)
            n += len(y)
        with torch.no_grad():
            logits = model(validation.x)
        truth = validation.y
        rows.append(
            {
                "epoch": epoch,
                "learning_rate": rate,
                "train_loss": losses / n,
                "train_accuracy": hits / n,
                "penalty": penalties / n,
                "gradient_norm": sum(norms) / len(norms),
                "validation_loss": float(-logits.log_softmax(1)[range(len(truth)), truth].mean()),
                "validation_accuracy": int((logits.argmax(1) == truth).sum()) / len(truth),
            }
        )
    return rows


def test_it_is_the_naive_loop():
    """All of it in float64: decay, clipping, schedule, penalty, means, an uneven batch."""
    data, validation = Toys(n=63, dtype=DOUBLE), Toys(n=100, seed=1, dtype=DOUBLE)
    reference, model = network(DOUBLE), network(DOUBLE)
    rows = naive(reference, data, validation, 3, lr=0.05, decay=0.1, clip=0.4, warmup=0.25)
    settings = Settings(epochs=3, learning_rate=0.05, weight_decay=0.1, clip=0.4, warmup=0.25)
    penalty = lambda m: 0.01 * m[0].weight.abs().sum()  # noqa: E731
    run = fit(model, data, validation, settings, seed=0, penalty=penalty)
    assert len(run.history) == 3
    for row, wanted in zip(run.history, rows, strict=True):
        assert row.keys() == wanted.keys()
        for key in wanted:
            assert row[key] == pytest.approx(wanted[key], abs=1e-12, rel=0), key
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(run.last_state[name], value, rtol=0, atol=1e-12)


def test_four_times_sixteen_is_sixty_four():
    states = []
    for size, accumulation in ((16, 4), (64, 1)):
        model = network(DOUBLE)
        data = Toys(n=160, size=size, shuffle=False, dtype=DOUBLE)
        settings = Settings(epochs=3, learning_rate=0.05, accumulation=accumulation)
        run = fit(model, data, data, settings, seed=0)
        states.append((run.last_state, run.history))
    for name, value in states[0][0].items():
        torch.testing.assert_close(value, states[1][0][name], rtol=0, atol=1e-12)
    for a, b in zip(states[0][1], states[1][1], strict=True):
        assert a == pytest.approx(b, abs=1e-12)


def test_the_model_keeps_the_best_epoch_and_the_run_the_last():
    """A learning rate far too high, so that validation goes up and down."""
    model, states = network(), []
    data, validation = Toys(n=40), Toys(n=63, seed=5)
    keep = lambda row, m: states.append({k: v.clone() for k, v in m.state_dict().items()})  # noqa: E731
    settings = Settings(epochs=11, learning_rate=2.0, schedule="constant")
    run = fit(model, data, validation, settings, seed=0, on_epoch=[keep])
    accuracies = [row["validation_accuracy"] for row in run.history]
    assert run.best_epoch == 1 + accuracies.index(max(accuracies)) < 11
    assert run.best == run.history[run.best_epoch - 1]
    assert same_state(model.state_dict(), states[run.best_epoch - 1])
    assert same_state(run.last_state, states[-1])
    assert not model.training
    assert evaluate(model, validation).accuracy == max(accuracies)
    assert (run.epochs, run.stopped_early, len(run.seconds)) == (11, False, 11)


def test_select_loss_chooses_by_loss():
    data, validation = Toys(n=40), Toys(n=63, seed=5)
    settings = Settings(epochs=12, learning_rate=2.0, schedule="constant", select="loss")
    run = fit(network(), data, validation, settings, seed=0)
    losses = [row["validation_loss"] for row in run.history]
    assert run.best_epoch == 1 + losses.index(min(losses))


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_stops_early(patience):
    data, validation = Toys(n=40), Toys(n=63, seed=5)
    settings = Settings(epochs=50, learning_rate=2.0, schedule="constant", patience=patience)
    run = fit(network(), data, validation, settings, seed=0)
    assert run.stopped_early
    assert run.epochs == len(run.history) == run.best_epoch + patience < 50


def test_plateau_lowers_the_rate():
    settings = Settings(
        epochs=15, learning_rate=1.0, schedule="plateau", plateau_patience=1, plateau_factor=0.25
    )
    run = fit(network(), Toys(n=40), Toys(n=63, seed=5), settings, seed=0)
    rates = [row["learning_rate"] for row in run.history]
    losses = [row["validation_loss"] for row in run.history]
    lowest, bad, rate, wanted = math.inf, 0, 1.0, []
    for loss in losses:
        wanted.append(rate)
        bad = 0 if loss < lowest else bad + 1
        lowest = min(loss, lowest)
        if bad == 2:
            rate, bad = rate * 0.25, 0
    assert rates == wanted
    assert rates[-1] < 1


def test_the_cosine_schedule_steps_with_every_batch():
    steps = []
    settings = Settings(epochs=2, learning_rate=0.5, warmup=0.5)
    fit(network(), Toys(n=63), Toys(n=20), settings, seed=0, on_batch=[steps.append])
    rates = [step.learning_rate for step in steps]
    assert rates[:5] == pytest.approx([0.02, 0.14, 0.26, 0.38, 0.5])
    assert rates[-1] == pytest.approx(5e-5)
    assert [(s.epoch, s.batch, s.batches, s.examples) for s in steps] == [
        (epoch, b, 4, 16 if b < 4 else 15) for epoch in (1, 2) for b in (1, 2, 3, 4)
    ]


def test_accumulation_steps_once_a_group():
    steps = []
    settings = Settings(epochs=1, accumulation=3)
    fit(network(), Toys(n=100), Toys(n=20), settings, seed=0, on_batch=[steps.append])
    assert [(s.batch, s.batches, s.examples) for s in steps] == [(3, 7, 48), (6, 7, 48), (7, 7, 4)]


def test_it_is_a_function_of_the_seed_and_leaves_no_trace():
    def trained(seed):
        model = network(dropout=0.5)
        return fit(model, Toys(), Toys(seed=1), Settings(epochs=2), seed=seed).last_state

    state = torch.random.get_rng_state()
    first = trained(3)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    assert same_state(first, trained(3))
    assert not same_state(first, trained(4))


def test_each_epoch_draws_its_own_numbers():
    drawn = []

    def penalty(model):
        drawn.append(torch.rand(()).item())
        return model[0].bias.sum() * 0

    fit(network(), Toys(), Toys(), Settings(epochs=3), seed=0, penalty=penalty)
    assert len(set(drawn)) == len(drawn) == 3 * 4


def test_a_model_that_comes_in_evaluation_mode_is_trained_all_the_same():
    states = []
    for mode in (True, False):
        model = network(dropout=0.5).train(mode)
        states.append(fit(model, Toys(), Toys(), Settings(epochs=1), seed=0).last_state)
    assert same_state(*states)


def test_an_on_epoch_callable_may_add_to_the_row():
    seen = []

    def usage(row, model):
        assert isinstance(model, nn.Sequential)
        row["usage"] = (row["epoch"], 0.5)

    run = fit(
        network(),
        Toys(),
        Toys(),
        Settings(epochs=2),
        seed=0,
        on_epoch=[usage, lambda r, m: seen.append(dict(r))],
    )
    assert [row["usage"] for row in run.history] == [[1, 0.5], [2, 0.5]]
    assert [row["usage"] for row in seen] == [(1, 0.5), (2, 0.5)]


def test_regression():
    data = Toys(n=63, regress=True)
    settings = Settings(epochs=40, learning_rate=0.05, select="loss")
    run = fit(network(out=1), data, data, settings, seed=0, loss=mse_loss)
    assert run.best["validation_accuracy"] is None
    assert run.best["train_accuracy"] is None
    assert run.best["validation_loss"] < 0.05


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_it_learns(precision):
    settings = Settings(epochs=12, learning_rate=0.05, precision=precision)
    run = fit(network(norm=True), Toys(n=300), Toys(n=300, seed=1), settings, seed=0)
    assert run.best["validation_accuracy"] > 0.95
    assert run.last_state["0.weight"].dtype == torch.float32


def test_nan_stops_the_run_word_by_word():
    data = Toys(n=63)
    data.x[17] = math.nan
    batch = next(b for b, (_, _, items) in enumerate(data.epoch(1), 1) if 17 in items)
    items = [items.tolist() for _, _, items in data.epoch(1)][batch - 1]
    with pytest.raises(RunError) as error:
        fit(network(), data, Toys(), seed=0)
    few = ", ".join(map(str, items[:5]))
    assert str(error.value) == (
        f"the loss is nan in epoch 1, batch {batch} (items {few}, ... ({len(items)} in all)): "
        f"look at these items, lower the learning rate or use precision float32"
    )


def test_nan_on_the_validation_set_stops_the_run():
    validation = Toys(n=63)
    validation.x[17] = math.nan
    with pytest.raises(RunError) as error:
        fit(network(), Toys(), validation, seed=0)
    assert str(error.value) == (
        "on the validation set in epoch 1, the loss is nan: "
        "the predictions are not finite for item 17"
    )


class Liar(Toys):
    def __len__(self):
        return 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": Toys(n=0)}, "train has no batches: give at least one"),
        ({"validation": Toys(n=0)}, "validation has no batches: give at least one"),
        (
            {"settings": {"epochs": 3}},
            "settings is a dict: give edgewise.train.Settings",
        ),
        ({"seed": -1}, "seed is -1: give a whole number of at least 0"),
        ({"seed": 1.5}, "seed is 1.5: give a whole number of at least 0"),
        (
            {"validation": Toys(regress=True)},
            "select is 'accuracy' but the validation targets are not integer labels: "
            "use Settings(select='loss')",
        ),
        (
            {"train": Liar()},
            "train has length 9 but gave 4 batches in epoch 1: "
            "the two must agree, the schedule counts on it",
        ),
    ],
)
def test_what_cant_be_done_is_refused(change, message):
    arguments = {"train": Toys(), "validation": Toys(), "settings": Settings(), "seed": 0} | change
    with pytest.raises(InputError) as error:
        fit(network(), **arguments)
    assert str(error.value) == message


def test_a_wrong_row_is_refused():
    with pytest.raises(InputError, match=r"^the history can't keep usage=tensor\(1\): "):
        fit(
            network(),
            Toys(),
            Toys(),
            seed=0,
            on_epoch=[lambda row, model: row.update(usage=torch.tensor(1))],
        )
