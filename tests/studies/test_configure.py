"""What is not a configuration at all is refused in a sentence, too."""

import pytest

from edgewise.core import InputError
from edgewise.studies import grid, make_study


@pytest.mark.parametrize("take", [make_study, grid])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, "x.json must be one object of names and values, got 'None'"),
        ([{}, {}], "x.json must be one object of names and values, got '[{}, {}]'"),
        ("a" * 99, f"x.json must be one object of names and values, got '{'a' * 60}'"),
        (
            {"study": "math:sqrt"},
            "the kind of study 'math:sqrt' must be a class of studies, got "
            "<built-in function sqrt>",
        ),
        (
            {"encoder_options": None},
            "x.json: encoder_options must be an object of encoder name to options, got None",
        ),
    ],
)
def test_what_is_no_configuration(take, values, message):
    with pytest.raises(InputError) as error:
        take(values, "x.json")
    assert str(error.value) == message


def test_an_axis_without_values():
    with pytest.raises(InputError) as error:
        grid({"encoders": ["kmote"], "encoder_options": {"kmote": {"top_k": []}}}, "x.json")
    assert str(error.value) == "x.json: kmote.top_k is an empty list; give it at least one value"
