import json
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from edgewise.core import InputError
from edgewise.landscape import interpolate, save, slices, spectrum
from edgewise.landscape.figures import draw_path, draw_spectrum, draw_watch

X = torch.linspace(-1, 1, 30, dtype=torch.float64).view(15, 2)
DATA = (X, X.prod(1, keepdim=True))


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()


def path():
    net = model()
    a, b = torch.zeros(21).double(), torch.ones(21).double()
    data = {"train": DATA, "fresh/0": DATA, "fresh/1": (X**2, DATA[1])}
    return interpolate(net, a, b, F.mse_loss, data, [-0.5, 0, 0.5, 1, 1.5], eigenvalues=True)


RESULTS = {
    "path": path,
    "density": lambda: spectrum(model(), F.mse_loss, DATA),
    "slice": lambda: slices(model(), F.mse_loss, DATA, points=5),
    "watch": lambda: [{"epoch": 1, "sharpness": 2.0}, {"epoch": 2, "sharpness": 3.0}],
}


@pytest.mark.parametrize("kind", RESULTS)
def test_every_result_becomes_three_files_that_need_no_network(kind, tmp_path):
    paths = save(RESULTS[kind](), tmp_path / "folder" / "figure.1", title="A & B </script>")
    assert [p.name for p in paths] == ["figure.1.png", "figure.1.pdf", "figure.1.html"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")
    page = paths[2].read_text(encoding="utf-8")
    assert "<title>A &amp; B &lt;/script&gt;</title>" in page
    assert not re.search(r"https?://|src=|@import", page)
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)
    assert json.loads(data[1].replace("<\\/", "</"))["kind"] in ("lines", "heat")


def test_the_same_result_is_the_same_file(tmp_path):
    rows = RESULTS["watch"]()
    first, again = (save(rows, tmp_path / name, title="T") for name in ("a", "b"))
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in first]


def test_a_path_shows_bands_the_certificate_and_eigenvalues():
    figure = draw_path(path())
    assert len(figure.axes) == 3
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["train", "fresh (mean ± sd of 2)"]
    assert "convex" in figure.axes[-1].get_xlabel()


def test_a_spectrum_says_what_it_is_made_of():
    label = draw_spectrum(RESULTS["density"]()).axes[0].get_xlabel()
    assert "21 eigenvalues, from all of them, float64" in label


def test_the_edge_of_stability_is_drawn():
    legend = draw_watch(RESULTS["watch"](), learning_rate=0.5).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()][1] == "2 / η, η = 0.5"


def test_what_has_no_figure_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^there is no figure of int$"):
        save(3, tmp_path / "x")
