"""No network, no home, read-only install, another locale, Windows line ends: it works."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgewise

# Every way out of the machine; what lives on it (pipes between processes) is left alone.
NO_NETWORK = """
import socket, sys
connect = socket.socket.connect
def refuse(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        raise OSError("there is no network")
    return connect(self, address)
socket.socket.connect = refuse
def lost(*a, **k):
    raise OSError("there is no network")
socket.getaddrinfo = lost
"""


def windows(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8-sig")


@pytest.fixture
def away(tmp_path):
    """A folder with a study's files as Windows writes them, and an unfriendly environment."""
    rows = [f"{s},{t * 1.5},{'äß'[s % 2]}" for s in range(60) for t in range(3)]
    table = "\n".join(["sequence,time,label", *rows, ""])
    (tmp_path / "events.csv").write_bytes(windows(table))
    few = {"encoders": ["raw", "lete"], "dataset": "events.csv", "seeds": 1, "epochs": 1}
    few |= {"dim": 8, "hidden_dim": 8, "workers": 1}
    (tmp_path / "study.json").write_bytes(windows(json.dumps(few, indent=1)))
    (tmp_path / "home").write_text("a file, so that nothing can be made in it")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    kept = ("PATH", "OMP_NUM_THREADS", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home" / "cache"),
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "LC_ALL": "C",
        "http_proxy": "http://127.0.0.1:9",
    }
    return tmp_path, environment


def call(folder, environment, *words, prefix=()):
    command = [*prefix, sys.executable, "-m", "edgewise", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_a_study_in_a_bare_environment(away):
    folder, environment = away
    done = call(folder, environment, "compare", "study.json", "--out", "out")
    assert "lete" in done.stdout.decode(errors="replace")
    assert len(list((folder / "out").rglob("record.json"))) == 2
    assert "äß"[0] in (folder / "out" / "report.html").read_text(encoding="utf-8")
    assert call(folder, environment, "status", "out").stdout.startswith(b"complete")


def read_only(folder: Path) -> list[str]:
    """A command that runs others without network, with the package on a read-only mount."""
    package = Path(edgewise.__file__).parent
    script = (
        f"mount --bind {package} {package} && mount -o remount,bind,ro {package} && "
        f'! touch {package}/x 2>/dev/null && exec "$@"'
    )
    return ["unshare", "--mount", "--net", "sh", "-c", script, "sh"]


@pytest.mark.slow
def test_a_read_only_install_and_no_network_at_all(away):
    folder, environment = away
    prefix = read_only(folder)
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("mounts can't be changed here: it needs root on Linux")
    call(folder, environment, "compare", "study.json", "--out", "out", prefix=prefix)
    assert len(list((folder / "out").rglob("record.json"))) == 2


@pytest.mark.slow
def test_a_german_locale(away):
    folder, environment = away
    names = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    german = [name for name in names.split() if name.startswith("de_DE")]
    if not german:
        pytest.skip("the locale de_DE is not installed")
    environment["LC_ALL"] = german[0]
    call(folder, environment, "compare", "study.json", "--out", "out")
    assert len(list((folder / "out").rglob("record.json"))) == 2


def test_what_has_to_be_fetched_says_so(away):
    folder, environment = away
    command = [sys.executable, "-m", "edgewise", "data", "fetch", "mnist"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode in (1, 2)
    said = done.stderr.decode(errors="replace")
    assert said.count("\n") == 1, said
    assert said.startswith("edgewise: ")
