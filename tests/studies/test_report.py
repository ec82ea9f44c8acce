import csv
import json
import sys
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
import synthetic_study as made
from rich.console import Console

from edgewise.core import InputError
from edgewise.studies.records.records import read_study
from edgewise.studies.report.analysis import analyse
from edgewise.studies.report.report import summary_table as table_of
from edgewise.studies.report.report import write_report
from edgewise.studies.report.tables import SUMMARY_COLUMNS

FILES = (
    "training_histories.json",
    "results_summary.csv",
    "summary.json",
    "detailed_analysis.json",
    "predictions.parquet",
    "analysis_report.md",
    "report.html",
    "accuracy_overview.png",
    "training_curves.png",
    "convergence_analysis.png",
    "temporal_patterns.png",
    "confusion_matrices.png",
    "statistical_significance.png",
    "expert_usage.png",
)


class Page(HTMLParser):
    """Checks that tags close in order, and keeps text, addresses and ids."""

    void = frozenset(("meta", "img", "br", "link", "input", "hr"))

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.addresses, self.ids, self.tags = [], [], [], [], []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        attributes = dict(attributes)
        self.addresses += [attributes[k] for k in ("href", "src") if k in attributes]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    skill = {"raw": 0.6, "lete": 0.85, "kmote": 0.9}
    folder = made.write_study(tmp_path_factory.mktemp("study"), skill=skill, items=100)
    made.write_failure(folder, "broken", 0, "the loss became NaN <at epoch 3>")
    write_report(folder)
    return folder


def test_all_files_are_there(study):
    for name in FILES:
        assert (study / name).stat().st_size > 100, name


def test_the_page_is_one_offline_file(study):
    text = (study / "report.html").read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert "http" not in text
    for address in page.addresses:
        assert address.startswith(("#", "data:image/png;base64,")), address[:80]
    assert len(page.ids) == len(set(page.ids))
    assert {a[1:] for a in page.addresses if a.startswith("#")} <= set(page.ids)
    assert page.tags.count("figure") == 7
    assert "prefers-color-scheme: dark" in text


def test_the_page_says_what_matters_first(study):
    page = Page((study / "report.html").read_text()).text
    headline = analyse(read_study(study))["headline"]
    assert headline in page
    assert page.index(headline) < page.index("Results")
    assert "the loss became NaN <at epoch 3>" in page
    assert "1 trial failed (broken); the others are compared without." in page
    assert "Dead experts (fewer than 1 % of the choices): kmote: wavelet." in page
    assert "cpu, 1 thread" in page


def test_markdown_has_the_same_words(study):
    text = (study / "analysis_report.md").read_text()
    headline = analyse(read_study(study))["headline"]
    assert text.startswith(f"# digits: 3 variants compared\n\n**{headline}**\n")
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "kmote − raw" in line}) == 1
    assert "![training curves](training_curves.png)" in text
    assert "* broken, seed 0: the loss became NaN <at epoch 3>" in text
    assert "\n\n\n" not in text


def test_the_summary_in_csv_and_json(study):
    with open(study / "results_summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == SUMMARY_COLUMNS
    assert [row["variant"] for row in rows] == ["kmote", "lete", "raw"]
    analysis = json.loads((study / "detailed_analysis.json").read_text())
    entry = analysis["variants"]["kmote"]["test_score"]
    assert float(rows[0]["best"]) == pytest.approx(entry["mean"], abs=1e-6)
    assert float(rows[0]["interval_low"]) == pytest.approx(entry["low"], abs=1e-6)
    short = json.loads((study / "summary.json").read_text())
    assert short["headline"] == analysis["headline"]
    assert short["variants"]["raw"]["parameters"] == 10_000
    assert short["verdicts"][1]["established"] is True


def test_histories_and_predictions_hold_every_trial(study):
    records = read_study(study)
    kept = json.loads((study / "training_histories.json").read_text())
    rows = records.by_variant["lete"][2].history
    assert kept["lete"]["2"]["validation_loss"] == [row["validation_loss"] for row in rows]
    table = pq.read_table(study / "predictions.parquet").to_pandas()
    assert len(table) == 3 * 6 * 100
    one = table[(table.variant == "lete") & (table.seed == 2)]
    accuracy = (one.predicted == one.label).mean()
    assert accuracy == pytest.approx(records.by_variant["lete"][2].record["test"]["accuracy"])
    assert list(one.item) == list(range(1000, 1100))


def test_the_same_records_give_the_same_bytes(study):
    before = {name: (study / name).read_bytes() for name in FILES}
    assert write_report(study) == study / "report.html"
    for name in FILES:
        assert (study / name).read_bytes() == before[name], name


def test_a_study_without_any_finished_trial(tmp_path):
    made.write_json(tmp_path / "config.json", {"dataset": "digits", "encoders": ["raw"]})
    made.write_failure(tmp_path, "raw", 0)
    page = Page(write_report(tmp_path).read_text()).text
    assert "No trial on digits finished, so there is nothing to compare." in page
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == 0
    for name in FILES:
        assert (tmp_path / name).exists()


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_analyses.py").write_text(
        "from matplotlib.figure import Figure\n"
        "def lengths(records):\n"
        "    figure = Figure()\n"
        "    figure.subplots().hist(records.predictions.length)\n"
        "    return {'title': 'Lengths & more', 'text': 'How long <they> are.',\n"
        "            'table': [{'shortest': 5, 'a|b': 1}], 'figure': figure}\n"
        "def broken(records):\n"
        "    return 1 / 0\n"
        "def untitled(records):\n"
        "    return {'text': 'x'}\n"
        "def misspelt(records):\n"
        "    return {'title': 'x', 'tabel': []}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own_analyses", None)


@pytest.mark.usefixtures("own_module")
def test_analyses_of_ones_own(tmp_path):
    folder = made.write_study(tmp_path / "study", ("raw",), seeds=1, items=20, curves=False)
    names = [f"own_analyses:{n}" for n in ("lengths", "broken", "untitled", "misspelt")]
    page = Page(write_report(folder, names).read_text())
    assert "There is nothing to compare it with." in page.text
    assert "Lengths & more How long <they> are." in page.text
    assert "shortest a|b 5 1" in page.text
    assert (folder / "analysis_1.png").exists()
    for fault in (
        "own_analyses:broken This analysis failed: ZeroDivisionError: division by zero "
        "(broken, line 8)",
        "This analysis failed: TypeError: an analysis returns a dictionary with a title",
        "an analysis returns title, text, table, figure, and nothing called 'tabel'",
    ):
        assert fault in page.text
    markdown = (folder / "analysis_report.md").read_text()
    assert "| shortest | a\\|b |" in markdown
    assert "![Lengths & more](analysis_1.png)" in markdown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lengths", "the analysis 'lengths' must be given as module:function"),
        (
            "math:sqr",
            "the analysis 'math:sqr' is not in the module 'math': it has no 'sqr'",
        ),
    ],
)
def test_an_analysis_that_is_not_there_stops_before_anything_is_written(tmp_path, name, text):
    made.write_study(tmp_path, ("raw",), seeds=1, items=20)
    with pytest.raises(InputError) as caught:
        write_report(tmp_path, [name])
    assert str(caught.value) == text
    assert not (tmp_path / "summary.json").exists()


def test_the_table_for_a_terminal(study):
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(table_of(analyse(read_study(study))))
    text = console.export_text()
    assert "Test accuracy on digits" in text
    assert text.index("kmote") < text.index("lete") < text.index("raw")
    assert "10,000" in text
