"""A CSV file that follows a run: open it in a spreadsheet while the run goes on."""

import csv
import io
import json
from pathlib import Path

from torch import nn

from edgewise.core import InputError, write_atomically
from edgewise.train.distributed import is_first
from edgewise.train.history import Row


class CSVLog:
    """An ``on_epoch`` callable that keeps a CSV file, a row an epoch.

    The file is replaced as a whole at each epoch, and rows of this epoch or later ones are
    dropped first: an epoch that a killed run repeats is there once, and a new run starts anew.
    Columns are added as rows bring them. Lists and dictionaries are written as JSON. Where several
    processes train together, the first one writes.

    Args:
        path: Where the file goes.

    Example:
        >>> import tempfile
        >>> log = CSVLog(Path(tempfile.mkdtemp()) / "log.csv")
        >>> for epoch in (1, 2, 2):
        ...     log({"epoch": epoch, "train_loss": 1 / epoch}, nn.Identity())
        >>> log.path.read_text().split()
        ['epoch,train_loss', '1,1.0', '2,0.5']

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __call__(self, row: Row, model: nn.Module) -> None:
        """Writes the row.

        Raises:
            InputError: If the file is there but wasn't written by a `CSVLog`.

        """
        if not is_first():
            return
        kept = [old for old in self._read() if int(old["epoch"]) < row["epoch"]]
        new = {key: _cell(value) for key, value in row.items()}
        rows = [*kept, new]
        columns = list(dict.fromkeys(key for r in rows for key in r))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue())

    def _read(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if any(not (row.get("epoch") or "").isdigit() for row in rows):
            raise InputError(
                f"{self.path} is not a log of epochs: give another path, or move the file away"
            )
        return rows


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (list, tuple, dict)) else value
