import math
import sys

import pytest

from edgewise.core import MissingExtraError, require


def test_what_is_there_is_imported():
    assert require("math", extra="all") is math


def test_what_is_absent_names_its_extra():
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_package.part", extra="stats")
    message = "this needs the package 'no_such_package': pip install 'edgewise[stats]'"
    assert str(caught.value) == message
    assert isinstance(caught.value, ImportError)


def test_a_broken_package_is_not_called_absent(tmp_path, monkeypatch):
    # Its name begins with that of the dependency it misses.
    (tmp_path / "missingdep_user.py").write_text("import missingdep\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModuleNotFoundError, match="'missingdep'"):
        require("missingdep_user", extra="stats")
