import re

import numpy as np
import pytest
import synthetic_study as made
from matplotlib.figure import Figure

from edgewise import drawing
from edgewise.drawing import COLOURS
from edgewise.studies.records.records import read_study
from edgewise.studies.report import figures
from edgewise.studies.report.analysis import analyse
from edgewise.studies.report.figures_results import NOTHING
from edgewise.studies.report.figures_time import _coarse
from edgewise.studies.report.look import MAX_DRAWN, style

NAMES = figures.__all__


def draw(name, records, analysis):
    if name != "temporal_patterns":
        return getattr(figures, name)(analysis)
    curves = {n: trials[0].curves() for n, trials in records.by_variant.items()}
    return figures.temporal_patterns(analysis, curves)


def texts(figure):
    found = []
    for artist in figure.findobj(lambda a: hasattr(a, "get_text")):
        found.append(artist.get_text())
    return " ".join(found)


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    root = tmp_path_factory.mktemp("studies")
    skill = {"raw": 0.6, "lete": 0.85, "kmote": 0.9}
    made.write_study(root / "six", skill=skill)
    made.write_study(root / "three", seeds=3, usage_in_history=False)
    made.write_study(root / "one", ("raw",), seeds=1, epochs=1, curves=False)
    made.write_json(root / "none" / "config.json", {"dataset": "digits"})
    found = {}
    for name in ("six", "three", "one", "none"):
        records = read_study(root / name)
        found[name] = records, analyse(records)
    return found


@pytest.mark.parametrize("study", ["one", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_every_figure_draws_whatever_there_is(studies, study, name):
    figure = draw(name, *studies[study])
    assert isinstance(figure, Figure)
    assert drawing.png(drawing.settle(figure), dpi=30)[:4] == b"\x89PNG"
    if study == "none":
        expected = "No variant of this study has experts" if name == "expert_usage" else NOTHING
        assert expected in texts(figure)


def test_titles_and_units_stand_on_the_figures(studies):
    records, analysis = studies["six"]
    for name in NAMES:
        figure = draw(name, records, analysis)
        title = texts(figure)
        assert "95 %" in title or name in ("confusion_matrices",), name
    assert "points of test accuracy" in texts(figures.statistical_significance(analysis))
    assert "seconds of training" in texts(figures.convergence_analysis(analysis))


def test_the_forest_shows_the_intervals(studies):
    _, analysis = studies["six"]
    forest = figures.statistical_significance(analysis).axes[0]
    pair = analysis["pairs"][1]
    ends = [list(line.get_xdata()) for line in forest.lines]
    assert [pair["low_points"], pair["high_points"]] in ends


def test_too_few_seeds_are_said_and_no_p_is_shown(studies):
    text = texts(figures.statistical_significance(studies["three"][1]))
    assert "3 seeds are too few to tell" in text
    assert not re.search(r"\d\.\d{3}|<\.001", text)
    assert "too few to tell" not in texts(figures.statistical_significance(studies["six"][1]))


def test_no_experts_is_said_plainly(studies):
    assert texts(figures.expert_usage(studies["one"][1])) == (
        "No variant of this study has experts, so there is no use of them to show."
    )


def test_dead_experts_are_marked(studies):
    assert "wavelet\n(dead)" in texts(figures.expert_usage(studies["six"][1]))


def test_nine_variants_stay_apart():
    analysis = {"study": {"variants": [str(place) for place in range(MAX_DRAWN)]}}
    looks = [tuple(style(analysis, name).values()) for name in analysis["study"]["variants"]]
    assert len(set(looks)) == MAX_DRAWN
    assert len({look[0] for look in looks[:9]}) == 9 == len(COLOURS)
    assert len({look[2] for look in looks}) == MAX_DRAWN


def test_many_variants_are_cut_to_the_best(tmp_path):
    names = [f"v{place:02d}" for place in range(14)]
    study = made.write_study(tmp_path, names, seeds=2, items=20, skill=dict.fromkeys(names, 0.7))
    analysis = analyse(read_study(study))
    figure = figures.confusion_matrices(analysis)
    assert "(the 12 best of 14 variants)" in texts(figure)
    assert analysis["ranking"][-1] not in texts(figure)


def test_svg_stands_alone_in_a_page(studies):
    figure = figures.training_curves(studies["six"][1])
    one, other = drawing.svg(figure, "one"), drawing.svg(figure, "other")
    assert one.startswith("<svg")
    assert "http" not in one
    assert "<metadata" not in one
    ids = set(re.findall(r'\bid="([^"]+)"', one))
    assert ids
    assert not ids & set(re.findall(r'\bid="([^"]+)"', other))
    assert set(re.findall(r'href="#([^"]+)"', one)) <= ids
    assert set(re.findall(r"url\(#([^)]+)\)", one)) <= ids
    assert "viewBox" in one.split(">")[0]


def test_the_same_records_give_the_same_bytes(studies):
    one, other = (draw("training_curves", *studies["six"]) for _ in range(2))
    assert drawing.svg(one, "x") == drawing.svg(other, "x")
    assert drawing.png(one) == drawing.png(other)


def test_density_keeps_its_shape_when_made_coarse():
    where, share = _coarse(np.arange(800.0), np.r_[np.zeros(400), np.ones(400)])
    assert share.max() == 1.0
    assert where.size == 80
    assert share[:40].max() == 0.0
