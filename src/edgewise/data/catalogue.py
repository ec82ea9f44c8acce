"""Where data sets come from: their terms, their files, and where those lie on this machine."""

import os
from dataclasses import dataclass
from pathlib import Path

from edgewise.core import InputError, did_you_mean


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set: its name, size in bytes and SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set's terms and files.

    ``mirrors`` are the URLs to which a file's name is added; without one, ``obtain`` says in words
    how to come by the files. They lie in ``folder`` of the data folder, by default the data set's
    name. ``kind`` says what it can be used as.
    """

    title: str
    homepage: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...] = ()
    mirrors: tuple[str, ...] = ()
    obtain: str = ""
    folder: str = ""
    kind: str = "events, images"

    @property
    def card(self) -> dict[str, str]:
        """What a data set's card says of its source."""
        return {
            "title": self.title,
            "source": self.homepage,
            "licence": self.licence,
            "citation": self.citation,
        }


def _idx_files(*facts: tuple[int, str]) -> tuple[RemoteFile, ...]:
    names = [
        f"{part}-{kind}-ubyte.gz"
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    ]
    return tuple(RemoteFile(name, *fact) for name, fact in zip(names, facts, strict=True))


SOURCES = {
    "digits": Source(
        title="Optical recognition of handwritten digits, 8 × 8 (the 1797 in scikit-learn)",
        homepage="https://archive.ics.uci.edu/dataset/80",
        licence="CC BY 4.0",
        citation="E. Alpaydin, C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI.",
    ),
    "mnist": Source(
        title="MNIST handwritten digits, 28 × 28",
        homepage="http://yann.lecun.com/exdb/mnist/",
        licence="none stated by the authors; for research use",
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning "
        "applied to document recognition. Proceedings of the IEEE 86(11).",
        files=_idx_files(
            (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        ),
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
    ),
    "fashion_mnist": Source(
        title="Fashion-MNIST, articles of clothing, 28 × 28",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        citation="H. Xiao, K. Rasul, R. Vollgraf (2017). Fashion-MNIST: a novel image dataset for "
        "benchmarking machine learning algorithms. arXiv:1708.07747.",
        files=_idx_files(
            (26421880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
            (29515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
            (4422102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
            (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
    ),
    "nmnist": Source(
        kind="events",
        title="N-MNIST, MNIST digits seen by a moving event camera, 34 × 34",
        homepage="https://www.garrickorchard.com/datasets/n-mnist",
        licence="CC BY-SA 4.0",
        citation="G. Orchard, A. Jayawant, G. Cohen, N. Thakor (2015). Converting static image "
        "datasets to spiking neuromorphic datasets using saccades. Frontiers in Neuroscience 9.",
        files=(
            RemoteFile(
                "nmnist_1k_100.npz",
                14552727,
                "8e3f85dd34a375259afd719d52a6a90d2878ee067603e377ef64c9f9d726751d",
            ),
        ),
        obtain="unpack Train and Test from https://www.garrickorchard.com/datasets/n-mnist there",
    ),
    "imdb": Source(
        kind="text",
        title="IMDB reviews, negative and positive, 25 000 + 25 000",
        homepage="https://ai.stanford.edu/~amaas/data/sentiment/",
        licence="none stated by the authors; for research use",
        citation="A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts (2011). "
        "Learning word vectors for sentiment analysis. ACL.",
        files=(
            RemoteFile(
                "imdb_train.tsv.gz",
                12885546,
                "e5141e05321f5d563081f5bebb8667450c1dc8a391ba75799e961e91cbabbcce",
            ),
            RemoteFile(
                "imdb_test.tsv.gz",
                12580429,
                "cefc392d3c01462eee180d22609c7a0a431bd629785b5b52afa9c0c6035e509a",
            ),
        ),
        obtain="write aclImdb's reviews as lines of label, rating, id and text, with tabs between",
    ),
    "rt-polarity": Source(
        kind="text",
        title="Sentences from film reviews, negative and positive, 5 331 + 5 331",
        homepage="https://www.cs.cornell.edu/people/pabo/movie-review-data/",
        licence="none stated by the authors; for research use",
        citation="B. Pang, L. Lee (2005). Seeing stars: exploiting class relationships for "
        "sentiment categorization with respect to rating scales. ACL.",
        files=(
            RemoteFile(
                "rt-polarity.neg",
                612506,
                "2d11cfbc790f1cd96d78339f41ce53ced1efa83cd22d37d6788fa3fe3d17e2fd",
            ),
            RemoteFile(
                "rt-polarity.pos",
                626395,
                "4134882974a28d0c7b5151256f0e33a6169984ee7372c279e673f1114f475d58",
            ),
        ),
        folder="sentiment",
        obtain="convert the files of sentence polarity dataset v1.0 to UTF-8",
    ),
}


def data_dir(explicit: str | Path | None = None) -> Path:
    """The folder of all data sets: ``explicit``, else ``$EDGEWISE_DATA``, else the user's cache.

    Example:
        >>> data_dir("/data") == Path("/data")
        True

    """
    if explicit is not None:
        return Path(explicit).expanduser()
    if named := os.environ.get("EDGEWISE_DATA"):
        return Path(named).expanduser()
    import pooch

    return Path(pooch.os_cache("edgewise"))


def locate(name: str, file: str, data_dir: str | Path | None = None) -> Path:
    """The path of one file of a data set, ``<data-dir>/<name>/<file>``.

    Raises:
        InputError: If it is not there, with how to get it.

    """
    path = _folder(name, data_dir) / file
    if not path.is_file():
        source = SOURCES[name]
        way = f"run `edgewise data fetch {name}`" if source.mirrors else source.obtain
        raise InputError(
            f"the data set {name!r} needs the file {path}, which is not there: {way}, or set "
            f"--data-dir or EDGEWISE_DATA to the folder that has {path.parent.name}/"
        )
    return path


def is_present(name: str, data_dir: str | Path | None = None) -> bool:
    """Whether every file of a data set is there; they are not read.

    Example:
        >>> is_present("digits")
        True

    """
    source = find_source(name)
    return all((_folder(name, data_dir) / file.name).is_file() for file in source.files)


def find_source(name: str) -> Source:
    """The source called ``name``.

    Raises:
        InputError: If there is none, with the nearest name.

    """
    if name not in SOURCES:
        raise InputError(f"unknown data set {name!r}: {did_you_mean(name, SOURCES)}")
    return SOURCES[name]


def _folder(name: str, explicit: str | Path | None) -> Path:
    return data_dir(explicit) / (SOURCES[name].folder or name)
