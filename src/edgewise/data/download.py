"""Downloads that are verified before they have a name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgewise.core import InputError, RunError, write_atomically
from edgewise.data.catalogue import RemoteFile, data_dir, find_source


def fetch(name: str, folder: str | Path | None = None, progress: bool = False) -> list[Path]:
    """Downloads what is missing of a data set into ``<folder>/<name>/`` and verifies it.

    A file that is there with the right SHA-256 is left alone; one that is not what it should be is
    replaced. A file gets its name only when it is whole and verified.

    Args:
        name: A data set of ``SOURCES`` that has mirrors.
        folder: The folder of all data sets, as ``data_dir`` takes it.
        progress: Shows a bar on stderr.

    Returns:
        The paths of all its files.

    Raises:
        InputError: If there is no such data set, or it can't be downloaded file by file.
        RunError: If no mirror gave a file.

    """
    source = find_source(name)
    if not source.files:
        raise InputError(f"the data set {name!r} needs no download: it comes with scikit-learn")
    into = data_dir(folder) / (source.folder or name)
    if not source.mirrors:
        raise InputError(
            f"the data set {name!r} can't be downloaded by Edgewise: {source.obtain} ({into})"
        )
    return [_fetch_file(file, source.mirrors, into, progress) for file in source.files]


def _fetch_file(file: RemoteFile, mirrors: tuple[str, ...], into: Path, progress: bool) -> Path:
    path = into / file.name
    if path.is_file() and _fault(path, file) is None:
        return path
    faults = []
    for mirror in mirrors:
        try:
            return write_atomically(path, _Download(mirror, file, progress))
        except OSError as error:  # what requests raises for any fault of the network is one, too
            faults.append(f"{mirror}: {error}")
    raise RunError(f"can't download {file.name} ({'; '.join(faults)})")


class _Download:
    """Writes one file from one mirror to the path it is given, or raises OSError."""

    def __init__(self, mirror: str, file: RemoteFile, progress: bool) -> None:
        self.url = mirror + file.name
        self.file = file
        self.progress = progress

    def __call__(self, path: Path) -> None:
        import pooch

        with _bar(self.file.name, self.progress) as bar:
            pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16)(self.url, str(path), None)
        if fault := _fault(path, self.file):
            raise OSError(fault)


def _fault(path: Path, file: RemoteFile) -> str | None:
    """What is wrong with the content of ``path``, if anything."""
    import pooch

    found = path.stat().st_size
    if found != file.size:
        return f"expected {file.size} bytes, found {found}"
    if pooch.file_hash(str(path), alg="sha256") != file.sha256:
        return "its SHA-256 is not the published one"
    return None


@contextmanager
def _bar(label: str, wanted: bool) -> Iterator[Any]:
    if not wanted:
        yield False
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        yield _Bar(progress, label)


class _Bar:
    """A bar of rich that answers to what pooch calls (its own needs tqdm)."""

    def __init__(self, progress: Any, label: str) -> None:
        self.progress = progress
        self.task = progress.add_task(label, total=None)

    @property
    def total(self) -> float | None:
        return self.progress.tasks[0].total

    @total.setter
    def total(self, size: int) -> None:
        self.progress.update(self.task, total=size)

    def update(self, amount: int) -> None:
        self.progress.update(self.task, advance=amount)

    def reset(self) -> None:
        self.progress.reset(self.task)

    def close(self) -> None:
        self.progress.stop()
