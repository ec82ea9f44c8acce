"""What a run leaves behind."""

from dataclasses import dataclass

from torch import Tensor

from edgewise.train.history import Row


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run; the model itself is left holding the best epoch's weights.

    Attributes:
        history: One row an epoch; a pure function of model, data, settings and seed.
        best_epoch: The first epoch with the best validation, from 1.
        epochs: Epochs run.
        stopped_early: True when patience ended the run.
        seconds: How long each epoch took, validation included; not part of the record, for it
            is never the same twice.
        last_state: The last epoch's weights and buffers, on the CPU.

    """

    history: list[Row]
    best_epoch: int
    epochs: int
    stopped_early: bool
    seconds: list[float]
    last_state: dict[str, Tensor]

    @property
    def best(self) -> Row:
        """The best epoch's row."""
        return self.history[self.best_epoch - 1]
