"""scikit-learn pipelines in files that can't execute code: skops, with the networks as bytes."""

import copy
import tempfile
import warnings
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from edgewise.core import InputError, require, write_atomically
from edgewise.export.bundle import load, save

ESTIMATORS = (
    "edgewise.symbolic.classifier.KANClassifier",
    "edgewise.symbolic.regressor.KANRegressor",
)
"""What of Edgewise such a file may hold; of scikit-learn and NumPy, what skops itself trusts."""

LARGEST = 2**32
"""Bytes that a file may unpack to."""


def save_pipeline(pipeline: Any, path: str | Path) -> Path:
    """Saves a fitted pipeline that ends in a KAN, or the KAN alone, without pickle.

    The network is kept as the bytes of `edgewise.save`. The file holds the training table too, as
    the estimator does, from which ``formula_`` is found; a formula that was found already is not
    kept and is looked for again when it is asked for.

    Args:
        pipeline: A ``Pipeline`` that ends in a `KANRegressor` or `KANClassifier`, or one of these.
        path: The file to write, usually ``….skops``.

    Returns:
        The path.

    Raises:
        InputError: If it does not end in a KAN, or a step is of a type that is not trusted.
        NotFittedError: If it is not fitted.
        MissingExtraError: If skops is absent.

    Example:
        >>> import tempfile
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> X = np.random.default_rng(0).uniform(0.5, 2, (60, 2))
        >>> kan = ew.KANRegressor(hidden=(1,), smoothness=(1e-2,), max_iter=2, random_state=0)
        >>> pipeline = make_pipeline(StandardScaler(), kan).fit(X, X[:, 0])
        >>> again = load_pipeline(save_pipeline(pipeline, Path(tempfile.mkdtemp()) / "p.skops"))
        >>> bool((again.predict(X) == pipeline.predict(X)).all())
        True

    """
    last = _last(pipeline)
    if _name(last) not in ESTIMATORS:
        raise InputError(
            f"the pipeline must end in a KANRegressor or a KANClassifier, it ends in a "
            f"{type(last).__name__}"
        )
    require("sklearn.utils.validation", extra="skops").check_is_fitted(last)
    io = require("skops.io", extra="skops")
    portable = copy.deepcopy(pipeline)
    last = _last(portable)
    last.model_, last._found = _bytes_of(last.model_), None
    try:
        data = io.dumps(portable)
    # Of what a step holds skops can refuse many things, each in its own way.
    except Exception as error:
        raise InputError(f"the pipeline can't be saved without pickle: {error}") from error
    _refuse_foreign(io, data, "the pipeline", "replace that step")
    return write_atomically(path, data)


def load_pipeline(path: str | Path) -> Any:
    """Loads what `save_pipeline` wrote; nothing in the file is executed.

    Types of scikit-learn, NumPy and SciPy that skops trusts and the two estimators of Edgewise are
    made, nothing else.

    Raises:
        InputError: If the file is missing, damaged, too large, or holds anything else.
        MissingExtraError: If skops is absent.

    """
    io, path = require("skops.io", extra="skops"), Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    data = path.read_bytes()
    _check_size(path, data)
    try:
        _refuse_foreign(io, data, str(path), "it is not loaded")
        with warnings.catch_warnings(action="ignore"):
            pipeline = io.loads(data, trusted=list(ESTIMATORS))
        last = _last(pipeline)
        last.model_ = _model_of(last.model_)
    except InputError:
        raise
    # A damaged archive fails wherever the damage lies.
    except Exception as error:
        raise InputError(f"{path} is damaged or no file of save_pipeline: {error}") from error
    return pipeline


def _last(pipeline: Any) -> Any:
    """The last step; without an import of scikit-learn, which everybody who loads would pay."""
    steps = getattr(pipeline, "steps", None)
    return steps[-1][1] if isinstance(steps, list) else pipeline


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__name__}"


def _refuse_foreign(io: Any, data: bytes, what: str, remedy: str) -> None:
    foreign: Iterable[str] = sorted(set(io.get_untrusted_types(data=data)) - set(ESTIMATORS))
    if foreign:
        raise InputError(f"{what} holds {', '.join(foreign)}, which is not trusted: {remedy}")


def _check_size(path: Path, data: bytes) -> None:
    """What the archive says it unpacks to, before anything is unpacked."""
    try:
        with ZipFile(BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except (BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path} is damaged or no file of save_pipeline: {error}") from error
    if size > LARGEST:
        raise InputError(f"{path} unpacks to {size} bytes, more than the {LARGEST} allowed")


def _bytes_of(model: Any) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        return np.frombuffer(save(model, Path(folder) / "model").read_bytes(), dtype=np.uint8)


def _model_of(data: np.ndarray) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = write_atomically(Path(folder) / "model", np.asarray(data, np.uint8).tobytes())
        return load(path)
