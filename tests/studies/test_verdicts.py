import pytest

from edgewise.studies.statistics.verdicts import established, headline, too_few_seeds, verdict

SURE = {
    "a": "kmote",
    "b": "raw",
    "seeds": 6,
    "difference_points": 1.0,
    "low_points": 0.5,
    "high_points": 1.5,
    "p_holm": 0.01,
}
ACCURACY = {
    name: {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
    for name, mean in (("kmote", 0.95), ("lete", 0.94), ("raw", 0.9))
}


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        ({}, True),
        ({"seeds": 5}, False),
        ({"p_holm": 0.05}, False),
        ({"p_holm": None}, False),
        ({"low_points": -0.1}, False),
        ({"low_points": -1.5, "high_points": -0.5}, True),
    ],
)
def test_a_claim_needs_all_three(change, claim):
    assert established(SURE | change) is claim


@pytest.mark.parametrize(
    ("seeds", "text"),
    [
        (0, "0 seeds are too few to tell: how much a result moves from seed to seed is unknown"),
        (1, "1 seed is too few to tell: how much a result moves from seed to seed is unknown"),
        (3, "3 seeds are too few to tell: the smallest p that 3 paired seeds can give is 0.25"),
        (5, "5 seeds are too few to tell: the smallest p that 5 paired seeds can give is 0.0625"),
    ],
)
def test_too_few_seeds(seeds, text):
    assert too_few_seeds(seeds) == text
    assert verdict(SURE | {"seeds": seeds}) == text


def test_the_better_one_is_named_first():
    assert verdict(SURE) == "kmote is better than raw by 1.00 points (95 % interval 0.50 to 1.50)"
    turned = {"difference_points": -1.0, "low_points": -1.5, "high_points": -0.5}
    assert verdict(SURE | turned | {"a": "raw", "b": "kmote"}) == verdict(SURE)


def lead(**of_lete):
    lete = SURE | {"b": "lete"} | of_lete
    return headline(["kmote", "lete", "raw"], ACCURACY, [lete, SURE], "digits")


FIRST = (
    "kmote has the highest mean test accuracy on digits, 95.00 % (95 % interval 94.00 to 96.00)."
)


def test_headlines():
    assert lead() == f"{FIRST} Its lead over every other variant (lete, raw) is established."
    assert lead(p_holm=0.3) == (
        f"{FIRST} Its lead over raw is established. "
        f"Its lead over lete is not established: it may be chance."
    )
    assert lead(seeds=2) == (
        f"{FIRST} Its lead over raw is established. "
        f"For lete there are too few common seeds to tell."
    )
    few = [SURE | {"b": "lete", "seeds": 5}, SURE | {"seeds": 5}]
    assert headline(["kmote", "lete", "raw"], ACCURACY, few, "digits") == (
        f"{FIRST} But 5 seeds are too few to tell: the smallest p that 5 paired seeds can give is "
        f"0.0625. No variant is shown to be better than another."
    )
    assert headline(["kmote", "raw"], ACCURACY, [SURE], "digits") == (
        f"{FIRST} Its lead over raw is established."
    )
    assert headline([], {}, [], "digits") == (
        "No trial on digits finished, so there is nothing to compare."
    )


def test_a_long_list_is_cut():
    names = [f"v{place:02d}" for place in range(12)]
    pairs = [SURE | {"a": "kmote", "b": name, "p_holm": 0.5} for name in names]
    text = headline(["kmote", *names], ACCURACY, pairs, "digits")
    assert "v00, v01, v02, v03, v04, v05, v06, v07 and 4 others is not established" in text
