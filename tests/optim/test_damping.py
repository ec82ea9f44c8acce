from hypothesis import given
from hypothesis import strategies as st

from edgewise.optim.damping import Damping


@given(st.floats(-1e6, 1e6), st.floats(1e-12, 1e3))
def test_a_better_step_never_means_more_damping(ratio, value):
    worse, better = Damping(value).accept(ratio), Damping(value).accept(ratio + 0.1)
    assert better <= worse * (1 + 1e-12)
    assert value / 3 * (1 - 1e-12) <= better <= 2 * value * (1 + 1e-12)


def test_refusals_grow_and_a_success_forgets_them():
    damping = Damping(1.0)
    assert [damping.refuse() for _ in range(4)] == [2, 8, 64, 1024]
    damping.accept(0.5)
    assert damping.growth == 2


def test_the_limits_hold():
    damping = Damping(1.0, floor=0.5, ceiling=3.0)
    assert damping.accept(1.0) == 0.5
    for _ in range(9):
        damping.refuse()
    assert damping.value == 3.0
