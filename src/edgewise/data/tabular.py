"""Tables to predict a column of: bundled ones, PMLB's, one's own files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn import datasets as bundled
from torch import Tensor

from edgewise.core import InputError, Registry, did_you_mean, generator
from edgewise.data.catalogue import data_dir
from edgewise.data.rows import RowDataset, Rows
from edgewise.data.splits import PARTS, stratified_split
from edgewise.data.table_files import SUFFIXES, read_table

CLASSES, NUMBERS = "classes", "numbers"
FEWEST = 10
"""Rows that can be split into three parts."""

MOST_CLASSES = 50
"""A column of so many different whole numbers at most is taken for classes."""

_SHARES = (0.6, 0.2, 0.2)
_PMLB = {
    "source": "PMLB (Olson et al. 2017, BioData Mining 10:36), https://epistasislab.github.io/pmlb",
    "obtain": "fetch it from https://github.com/EpistasisLab/pmlb into <data-dir>/tabular",
}


class Table(NamedTuple):
    """Columns as they are in a file.

    Attributes:
        x: (S, I) float64.
        y: (S,) float64.
        features: The I names.
        card: Where it comes from.

    """

    x: np.ndarray
    y: np.ndarray
    features: tuple[str, ...]
    card: dict[str, Any]


TABLES: Registry[Callable[[], Table]] = Registry("table")
"""Functions to a `Table` by name: those that come with scikit-learn."""

for _name in ("breast_cancer", "diabetes", "iris", "wine"):

    @TABLES.register(_name)
    def _bundled(name: str = _name) -> Table:
        found = getattr(bundled, f"load_{name}")()
        card = {"source": f"scikit-learn's load_{name}"}
        names = tuple(map(str, found.feature_names))
        return Table(found.data.astype(float), found.target.astype(float), names, card)


def load_tabular(
    source: str,
    data_dir: str | Path | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    *,
    target: str = "target",
    task: str | None = None,
) -> RowDataset:
    """A table in three parts, its inputs standardised by the training part.

    60 % of the rows are for training, 20 % and 20 % held out; classes are in the same proportion in
    all parts. Columns that are constant in the training part are left out, and counted in the card.
    Numbers to predict are standardised, too.

    Args:
        source: A bundled name (see `TABLES`), a PMLB table in ``<data-dir>/tabular``, a file ending
            in .csv, .tsv, .parquet (also .gz), or ``module:function`` to a `Table`.
        data_dir: The folder of all data sets; None takes EDGEWISE_DATA or the user's cache.
        split_seed: Which rows are held out.
        limit: Keeps so many training rows; None keeps all.
        target: The column to predict, in a file.
        task: ``"classes"`` or ``"numbers"``; None takes whole numbers of few values for classes.

    Raises:
        InputError: If there is no such table or column, or a cell is no number.

    Example:
        >>> data = load_tabular("iris")
        >>> data.train.inputs.shape, data.classes
        (torch.Size([90, 4]), ('0', '1', '2'))
        >>> torch.allclose(data.train.inputs.mean(0), torch.zeros(4), atol=1e-6)
        True

    """
    if split_seed < 0:
        raise InputError(f"split_seed must be at least 0, not {split_seed}")
    if task not in (None, CLASSES, NUMBERS):
        raise InputError(f"unknown task {task!r}: {did_you_mean(str(task), (CLASSES, NUMBERS))}")
    table = _table(source, data_dir, target)
    if len(table.y) < FEWEST:
        raise InputError(f"a table needs at least {FEWEST} rows to be split, got {len(table.y)}")
    if task is None:
        values = np.unique(table.y)
        whole = bool((values == np.round(values)).all())
        task = CLASSES if whole and len(values) <= MOST_CLASSES else NUMBERS
    labels, classes = _labels(table.y) if task == CLASSES else (None, ())
    parts = _split(len(table.y), labels, split_seed)
    if limit is not None:
        parts[0] = _limited(parts[0], labels, limit, split_seed, source)
    return _dataset(source, table, parts, labels, classes)


def _table(source: str, folder: str | Path | None, target: str) -> Table:
    if source in TABLES:
        return TABLES.resolve(source)()
    if source.lower().endswith(SUFFIXES):
        return _from_file(Path(source), target, {"file": source})
    if ":" in source:
        return TABLES.resolve(source)()
    path = data_dir(folder) / "tabular" / f"{source}.tsv.gz"
    if not path.is_file():
        known = sorted(p.name.removesuffix(".tsv.gz") for p in path.parent.glob("*.tsv.gz"))
        raise InputError(
            f"there is no table {source!r}: {did_you_mean(source, [*TABLES, *known])}; a table of "
            f"PMLB needs the file {path}"
        )
    return _from_file(path, target, _PMLB)


def _from_file(path: Path, target: str, card: dict[str, Any]) -> Table:
    _, table = read_table(path)
    names = table.column_names
    if target not in names:
        raise InputError(f"{path} has no column {target!r}: {did_you_mean(target, names)}")
    columns = {name: _numbers(path, name, table[name]) for name in names}
    features = tuple(name for name in names if name != target)
    if not features:
        raise InputError(f"{path} has no column beside {target!r} to predict it from")
    return Table(np.stack([columns[n] for n in features], 1), columns[target], features, card)


def _numbers(path: Path, name: str, column: Any) -> np.ndarray:
    try:
        values = np.asarray(column.to_numpy(), dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{path}: the column {name!r} holds {column[0].as_py()!r}, which is no number: leave "
            f"it out or make it numeric"
        ) from None
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"{path}: {name} is {values[bad[0]]} in row {bad[0] + 1}: fill it or drop such rows"
        )
    return values


def _labels(y: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    values, labels = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise InputError(f"the target is {values[0]:g} in every row: there is nothing to predict")
    return torch.from_numpy(labels.astype(np.int64)), tuple(f"{value:g}" for value in values)


def _split(rows: int, labels: Tensor | None, seed: int) -> list[Tensor]:
    return stratified_split(
        torch.zeros(rows, dtype=torch.int64) if labels is None else labels, _SHARES, seed
    )


def _limited(items: Tensor, labels: Tensor | None, limit: int, seed: int, source: str) -> Tensor:
    if not 1 <= limit <= len(items):
        raise InputError(
            f"limit must lie between 1 and {len(items)}, the training rows of {source!r}, "
            f"got {limit}"
        )
    if labels is None:
        return items[torch.randperm(len(items), generator=generator(seed, "limit"))[:limit]]
    kept, _ = stratified_split(labels[items], (limit, len(items) - limit), seed)
    return items[kept]


def _dataset(
    source: str,
    table: Table,
    parts: list[Tensor],
    labels: Tensor | None,
    classes: tuple[str, ...],
) -> RowDataset:
    x = torch.tensor(table.x)
    mean, spread = x[parts[0]].mean(0), x[parts[0]].std(0, correction=0)
    kept = spread > 1e-12 * (mean.abs() + 1)
    if not kept.any():
        raise InputError(f"the table {source!r} has no column that varies in its training rows")
    x = ((x - mean) / spread)[:, kept].float()
    y, card = labels, {"name": source, **table.card}
    if y is None:
        numbers = torch.tensor(table.y)
        middle, width = numbers[parts[0]].mean(), numbers[parts[0]].std(correction=0)
        if not width > 0:
            raise InputError(f"the target of {source!r} is the same in every training row")
        y = ((numbers - middle) / width).float().unsqueeze(-1)
        card |= {"target": {"mean": float(middle), "standard deviation": float(width)}}
    card |= {
        "columns": int(kept.sum()),
        "constant columns left out": [
            n for n, k in zip(table.features, kept, strict=True) if not k
        ],
        "sizes": {part: len(items) for part, items in zip(PARTS, parts, strict=True)},
    }
    rows = [Rows(x[items], y[items], classes) for items in parts]
    return RowDataset(*rows, name=source, card=card)
