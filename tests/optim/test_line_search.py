import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.optim.line_search import Point, strong_wolfe

CURVES = {
    "parabola": lambda a: Point(a, (a - 1) ** 2, 2 * (a - 1)),
    "far": lambda a: Point(a, (a / 1e4 - 1) ** 2, 2e-4 * (a / 1e4 - 1)),
    "near": lambda a: Point(a, (a * 1e4 - 1) ** 2, 2e4 * (a * 1e4 - 1)),
    "waves": lambda a: Point(a, math.cos(5 * a) - a, -5 * math.sin(5 * a) - 1),
    "kink": lambda a: Point(a, abs(a - 0.3), -1.0 if a < 0.3 else 1.0),
}


@pytest.mark.parametrize("name", [n for n in CURVES if n != "kink"])
@given(first=st.floats(1e-3, 1e3), curvature=st.floats(0.1, 0.9))
def test_the_point_meets_both_conditions(name, first, curvature):
    look = CURVES[name]
    start = look(0.0)
    point = strong_wolfe(look, start, first, curvature=curvature, max_looks=60)
    assert point.loss <= start.loss + 1e-4 * point.length * start.slope
    assert abs(point.slope) <= -curvature * start.slope


def test_at_a_kink_the_best_point_is_given():
    look = CURVES["kink"]
    point = strong_wolfe(look, look(0.0))
    assert 0.2 < point.length < 0.4


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_nan_and_infinity_count_as_too_far(beyond):
    def look(a):
        if a >= 1:
            return Point(a, beyond, math.nan)
        return Point(a, -math.log(1 - a) - 2 * a, 1 / (1 - a) - 2)

    point = strong_wolfe(look, look(0.0), 4.0, curvature=0.1)
    assert point.length == pytest.approx(0.5, abs=0.1)


def test_where_nothing_is_lower_there_is_no_point():
    looks = []

    def look(a):
        looks.append(a)
        return Point(a, 1.0 + a, 1.0)

    assert strong_wolfe(look, Point(0.0, 1.0, -1.0), max_looks=7) is None
    assert len(looks) == 7
