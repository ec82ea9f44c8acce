import sys

import pytest

from edgewise.core import InputError, Registry, did_you_mean


@pytest.fixture
def colours():
    registry = Registry("colour")
    registry.register("red")(lambda: "#f00")
    registry.register("green")(lambda: "#0f0")
    return registry


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_what_is_registered_is_found_in_order(colours):
    assert colours.resolve("red")() == "#f00"
    assert list(colours) == ["red", "green"]
    assert len(colours) == 2
    assert "red" in colours
    assert "blue" not in colours


def test_register_gives_the_thing_back():
    def thing(): ...

    assert Registry("thing").register("it")(thing) is thing


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gren", "unknown colour 'gren': did you mean 'green'? (known: red, green)"),
        ("GREEN", "unknown colour 'GREEN': did you mean 'green'? (known: red, green)"),
        ("zzz", "unknown colour 'zzz': known: red, green"),
        (3, "a colour is asked for by name, got 3"),
        (":red", "the colour ':red' must read 'module:name'"),
        ("math:", "the colour 'math:' must read 'module:name'"),
        (".math:sqrt", "the colour '.math:sqrt' must read 'module:name'"),
        (
            "no_such_module_xyz:red",
            "the colour 'no_such_module_xyz:red' names the module 'no_such_module_xyz', which "
            "can't be imported; run from its folder or install it",
        ),
        (
            "math:no_such_name",
            "the colour 'math:no_such_name' is not in the module 'math': it has no 'no_such_name'",
        ),
    ],
)
def test_what_is_not_there_is_refused_word_by_word(colours, here, name, message):
    with pytest.raises(InputError) as caught:
        colours.resolve(name)
    assert str(caught.value) == message


def test_a_file_beside_the_user_is_found(colours, here):
    (here / "shades_for_registry.py").write_text("def pink():\n    return '#fcc'\n")
    assert colours.resolve("shades_for_registry:pink")() == "#fcc"


def test_faults_of_the_users_module_are_not_hidden(colours, here):
    (here / "faulty_attribute.py").write_text("import math\nmath.no_such\n")
    (here / "faulty_import.py").write_text("import no_such_dependency\n")
    (here / "faulty.py").write_text("import fault\n")
    with pytest.raises(AttributeError, match="no_such"):
        colours.resolve("faulty_attribute:x")
    for module in ("faulty_import", "faulty"):
        with pytest.raises(ModuleNotFoundError) as caught:
            colours.resolve(f"{module}:x")
        assert not isinstance(caught.value, InputError)


def test_did_you_mean_lists_what_there_is():
    assert did_you_mean("bb", iter(["aaa", "bbb"])) == "did you mean 'bbb'? (known: aaa, bbb)"
    assert did_you_mean("zz", ["aaa"]) == "known: aaa"
