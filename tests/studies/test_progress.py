import io

from rich.console import Console

from edgewise.studies.running.progress import StudyProgress


def said(*events: dict) -> str:
    """What a console that is no terminal gets to read."""
    out = io.StringIO()
    with StudyProgress(Console(file=out, width=100)) as bars:
        for event in events:
            bars(event)
    return out.getvalue()


PLAN = {"kind": "plan", "trials": 3, "finished": 0}
START = {"kind": "start", "trial": "lete seed 0", "epochs": 2}
EPOCH = {"kind": "epoch", "trial": "lete seed 0", "epoch": 1, "validation_accuracy": 0.5}


def test_a_line_for_each_finished_trial():
    text = said(PLAN, START, EPOCH, {"kind": "done", "trial": "lete seed 0"})
    assert text.splitlines() == ["[1/3] lete seed 0 done"]


def test_failures_say_why_with_brackets_and_all():
    failed = {"kind": "failed", "trial": "lete seed 0", "message": "NaN in [4, 7]"}
    assert "[1/3] lete seed 0 failed: NaN in [4, 7]" in said(PLAN, START, failed)


def test_a_resumed_study_says_what_it_has():
    assert said(PLAN | {"finished": 2}).startswith("2 of 3 trials are finished already")


def test_a_terminal_sees_bars():
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True)
    with StudyProgress(console) as bars:
        for event in (PLAN, START, EPOCH):
            bars(event)
    assert "validation 50.0 %" in out.getvalue()
