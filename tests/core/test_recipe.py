import json

import pytest
from torch import nn

import edgewise as ew
from edgewise.core import InputError, build, recipe_of, remembers


@remembers
class Box:
    def __init__(self, width, height=1, **extra):
        self.size = (width, height, extra)


@remembers
class Crate(Box):
    def __init__(self, edge, label="crate"):
        super().__init__(edge, edge, lid=True)
        self.label = label


class Tin(Box):
    """Inherits the arguments."""


class Barrel(Box):
    def __init__(self, radius):
        super().__init__(radius, 2 * radius)


HERE = Box.__module__


def round_trip(thing, trust=(HERE,)):
    return build(json.loads(json.dumps(recipe_of(thing))), trust=trust)


def test_arguments_are_kept_by_name_with_defaults():
    assert recipe_of(Box(3)) == {"class": f"{HERE}:Box", "arguments": {"width": 3, "height": 1}}
    assert recipe_of(Box(3, colour="red"))["arguments"]["colour"] == "red"
    assert round_trip(Box(3, height=2, colour="red")).size == (3, 2, {"colour": "red"})


def test_a_subclass_is_remembered_by_its_own_arguments():
    assert recipe_of(Crate(2))["arguments"] == {"edge": 2, "label": "crate"}
    again = round_trip(Crate(2, label="x"))
    assert (type(again), again.size, again.label) == (Crate, (2, 2, {"lid": True}), "x")
    assert type(round_trip(Tin(4))) is Tin


def test_a_subclass_with_arguments_of_its_own_must_remember_too():
    with pytest.raises(InputError) as caught:
        recipe_of(Barrel(1))
    assert str(caught.value) == (
        "Barrel does not remember how it was made; decorate the class with edgewise.core.remembers"
    )


def test_arguments_without_a_name_are_refused():
    with pytest.raises(InputError) as caught:

        @remembers
        class Pile:
            def __init__(self, *things): ...

    assert str(caught.value) == (
        "Pile can't remember its argument 'things', which has no name for its callers"
    )


def test_nested_modules_make_the_round_trip():
    basis = ew.bases.BSpline(grid_size=3, degree=2, outside="zero")
    encoder = ew.encoders.KMOTE(9, experts=["fourier", basis, ew.layers.KANLinear(1, 3)])
    model = ew.models.SequenceClassifier(encoder, num_classes=2, hidden_dim=4)
    again = round_trip(model, trust=())
    assert recipe_of(again) == recipe_of(model)
    assert str(again) == str(model)
    assert isinstance(again.encoder.mixture.experts[1].module.basis, ew.bases.BSpline)


def test_later_changes_of_a_list_are_not_taken_over():
    experts = ["spline"]
    encoder = ew.encoders.KMOTE(4, experts=experts, top_k=1)
    experts.append("fourier")
    assert recipe_of(encoder)["arguments"]["experts"] == ["spline"]


def test_what_json_can_not_hold_is_refused():
    with pytest.raises(InputError) as caught:
        recipe_of(Box(nn.Linear(1, 1)))
    assert str(caught.value) == (
        "a recipe holds numbers, words and modules that remember, not Linear"
    )


def foreign(name, package):
    return (
        f"the recipe asks for '{name}', and importing runs that package's code; "
        f"if you trust it, pass trust=('{package}',)"
    )


def lost(name):
    return (
        f"the recipe asks for '{name}', which is no class that remembers; "
        f"it may be of another version"
    )


CLASSIFIER = "edgewise.models.sequence:SequenceClassifier"
MALFORMED = "the recipe must have a 'class' and its 'arguments'"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({}, MALFORMED),
        (None, MALFORMED),
        ([], MALFORMED),
        ({"class": 3, "arguments": {}}, MALFORMED),
        ({"class": "a:B", "arguments": 3}, MALFORMED),
        ({"class": "os:system", "arguments": {"command": "true"}}, foreign("os:system", "os")),
        (
            {"class": "edgewise_evil:Model", "arguments": {}},
            foreign("edgewise_evil:Model", "edgewise_evil"),
        ),
        (
            {"class": CLASSIFIER, "arguments": {"encoder": "os:system", "dim": "true"}},
            foreign("os:system", "os"),
        ),
        (
            {
                "class": CLASSIFIER,
                "arguments": {
                    "encoder": {
                        "recipe": {
                            "class": "edgewise.encoders.kmote:KMOTE",
                            "arguments": {"dim": 4, "experts": ["spline", "os:getcwd"]},
                        }
                    }
                },
            },
            foreign("os:getcwd", "os"),
        ),
        ({"class": "edgewise:Gone", "arguments": {}}, lost("edgewise:Gone")),
        ({"class": "edgewise.gone:Model", "arguments": {}}, lost("edgewise.gone:Model")),
        ({"class": "edgewise.core.files:os.system", "arguments": {}}, None),
        ({"class": "edgewise.core.files:Path", "arguments": {}}, None),
        ({"class": "edgewise.models", "arguments": {}}, lost("edgewise.models")),
        (
            {"class": "edgewise.encoders.raw:RawTime", "arguments": {"dim": 2, "width": 3}},
            "the recipe's arguments do not fit 'edgewise.encoders.raw:RawTime': got an unexpected "
            "keyword argument 'width'; it may be of another version",
        ),
    ],
)
def test_recipes_that_can_not_be_followed_are_refused_word_by_word(recipe, message):
    with pytest.raises(InputError) as caught:
        build(recipe)
    assert str(caught.value) == (message or lost(recipe["class"]))


def test_trust_is_given_by_package():
    recipe = recipe_of(Box(1))
    with pytest.raises(InputError) as caught:
        build(recipe)
    assert str(caught.value) == foreign(f"{HERE}:Box", HERE)
    assert build(recipe, trust=[HERE]).size == (1, 1, {})
    assert build(recipe, trust=HERE).size == (1, 1, {})
