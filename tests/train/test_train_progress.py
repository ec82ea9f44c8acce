import io
import sys
import types

import pytest
from rich.console import Console
from torch.nn.functional import mse_loss
from train_toys import Toys, network

from edgewise.train import ProgressBar, Settings, fit


def drawn(terminal, epochs=2, **arguments):
    out = io.StringIO()
    console = Console(file=out, width=140, force_terminal=terminal, force_jupyter=False)
    with ProgressBar(epochs, console) as bar:
        run = fit(seed=0, on_batch=[bar.batch], on_epoch=[bar.epoch], **arguments)
    return out.getvalue(), bar, run


def classify(**settings):
    return {
        "model": network(),
        "train": Toys(),
        "validation": Toys(),
        "settings": Settings(epochs=2, **settings),
    }


def test_a_file_gets_the_last_line_only():
    text, _, run = drawn(terminal=False, **classify())
    row = run.history[-1]
    assert text.count("\n") == 1
    assert "epoch 2/2" in text
    assert "8/8" in text
    validation = f"loss {row['validation_loss']:.4f} accuracy {row['validation_accuracy']:.4f}"
    assert f"(validation: {validation})" in text


def test_a_terminal_is_redrawn():
    text, bar, _ = drawn(terminal=True, **classify())
    assert "epoch 2/2" in text
    assert "\x1b[" in text
    assert bar.progress.finished


def test_accumulated_batches_are_all_counted():
    _, bar, _ = drawn(terminal=False, **classify(accumulation=3))
    assert bar.progress.finished


def test_without_labels_there_is_no_accuracy():
    text, _, _ = drawn(
        terminal=False,
        model=network(out=1),
        train=Toys(regress=True),
        validation=Toys(regress=True),
        settings=Settings(epochs=2, select="loss"),
        loss=mse_loss,
    )
    assert "accuracy" not in text
    assert "loss" in text


def test_a_resumed_run_starts_where_it_is(tmp_path):
    def stop(row, model):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(**classify(), seed=0, folder=tmp_path, on_epoch=[stop])
    text, bar, _ = drawn(terminal=False, folder=tmp_path, **classify())
    assert bar.progress.finished
    assert "8/8" in text


def test_a_finished_run_draws_nothing(tmp_path):
    fit(**classify(), seed=0, folder=tmp_path)
    text, _, _ = drawn(terminal=False, folder=tmp_path, **classify())
    assert text.strip() == ""


def test_a_notebook_needs_no_widgets(monkeypatch):
    """One output, redrawn; each picture is a table that Jupyter can show."""
    shown = []

    class Handle:
        def update(self, picture):
            shown.append(picture)

    def display(picture, display_id):
        assert display_id
        shown.append(picture)
        return Handle()

    module = types.ModuleType("IPython.display")
    module.display = display
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    console = Console(file=io.StringIO(), force_jupyter=True, width=140)
    with ProgressBar(2, console) as bar:
        bar.notebook.interval = 0.0
        fit(**classify(), seed=0, on_batch=[bar.batch], on_epoch=[bar.epoch])
    assert len(shown) == 9
    bundle = shown[-1]._repr_mimebundle_([], [])
    assert "epoch 2/2" in bundle["text/plain"]
    assert "<pre" in bundle["text/html"]
