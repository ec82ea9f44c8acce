import functools
import hashlib
import http.server
import threading

import pytest
from event_files import REAL, needs_real

from edgewise.core import InputError, RunError
from edgewise.data import SOURCES, RemoteFile, Source, fetch

CONTENT = bytes(range(256)) * 500
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Puts a data set "toy" of one file on a server of this machine, and says where."""
    root = tmp_path / "served"
    (root / "good").mkdir(parents=True)
    (root / "short").mkdir()
    (root / "good" / "a.gz").write_bytes(CONTENT)
    (root / "short" / "a.gz").write_bytes(CONTENT[:-1])
    handler = functools.partial(Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        base = f"http://127.0.0.1:{server.server_port}"

        def offer(*mirrors, sha256=SHA256):
            file = RemoteFile("a.gz", len(CONTENT), sha256)
            urls = tuple(f"{base}/{mirror}/" for mirror in mirrors)
            monkeypatch.setitem(SOURCES, "toy", Source("t", "h", "l", "c", (file,), urls))
            return base

        yield offer
        server.shutdown()
        thread.join()


def test_a_verified_file_appears_and_stays(served, tmp_path):
    served("good")
    [path] = fetch("toy", tmp_path)
    assert path == tmp_path / "toy" / "a.gz"
    assert path.read_bytes() == CONTENT
    before = path.stat().st_mtime_ns, path.stat().st_ino
    fetch("toy", tmp_path)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_bad_mirror_is_passed_over(served, tmp_path):
    served("absent", "short", "good")
    assert fetch("toy", tmp_path)[0].read_bytes() == CONTENT


def test_a_wrong_file_is_replaced(served, tmp_path):
    served("good")
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.gz").write_bytes(CONTENT[::-1])
    assert fetch("toy", tmp_path)[0].read_bytes() == CONTENT


def test_what_is_not_verified_never_gets_a_name(served, tmp_path):
    base = served("short", "good", sha256="0" * 64)
    with pytest.raises(RunError) as caught:
        fetch("toy", tmp_path)
    assert str(caught.value) == (
        f"can't download a.gz ({base}/short/: expected 128000 bytes, found 127999; "
        f"{base}/good/: its SHA-256 is not the published one)"
    )
    assert list((tmp_path / "toy").iterdir()) == []


def test_the_bar_goes_to_stderr_and_only_if_asked(served, tmp_path, capsys):
    served("good")
    fetch("toy", tmp_path / "quiet")
    assert capsys.readouterr() == ("", "")
    fetch("toy", tmp_path / "loud", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "a.gz" in err
    assert "100%" in err


def test_what_can_not_be_fetched(tmp_path):
    with pytest.raises(InputError) as caught:
        fetch("nmnist", tmp_path)
    assert str(caught.value) == (
        f"the data set 'nmnist' can't be downloaded by Edgewise: unpack Train and Test from "
        f"https://www.garrickorchard.com/datasets/n-mnist there ({tmp_path}/nmnist)"
    )
    with pytest.raises(InputError) as caught:
        fetch("digits", tmp_path)
    assert str(caught.value) == (
        "the data set 'digits' needs no download: it comes with scikit-learn"
    )
    with pytest.raises(InputError, match=r"^unknown data set 'mnst': did you mean 'mnist'\?"):
        fetch("mnst", tmp_path)


@needs_real
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_published_sums_are_those_of_the_real_files(name):
    # Nothing is downloaded when every sum is right.
    assert [path.name for path in fetch(name, REAL)] == [f.name for f in SOURCES[name].files]
