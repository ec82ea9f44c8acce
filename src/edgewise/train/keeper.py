"""A run's state, and how it goes to its folder after each epoch and comes back."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgewise.train.checkpoint import (
    Checkpoint,
    check_identity,
    copy_optimiser,
    copy_state,
    load_checkpoint,
    restore_optimiser,
    save_checkpoint,
)
from edgewise.train.history import Row, is_over, write_history
from edgewise.train.step import Stepper


@dataclass
class State:
    """All that changes from epoch to epoch.

    Attributes:
        model: The model being trained.
        stepper: Its optimiser.
        history: One row an epoch.
        seconds: How long each epoch took.
        best: The best epoch's weights and buffers, on the CPU.

    """

    model: nn.Module
    stepper: Stepper
    history: list[Row] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Keeper:
    """Keeps one run in one folder.

    Args:
        folder: Where ``checkpoint.safetensors`` and ``history.jsonl`` go.
        identity: What the run was asked for, from `edgewise.train.checkpoint.identify`.

    """

    folder: Path
    identity: dict[str, Any]

    @property
    def path(self) -> Path:
        """The checkpoint's path."""
        return self.folder / "checkpoint.safetensors"

    def keep(self, state: State) -> None:
        """Writes the run as it is after its last finished epoch."""
        stepper, model = state.stepper, state.model
        over = is_over(state.history, stepper.settings)
        checkpoint = Checkpoint(
            identity=self.identity,
            history=state.history,
            seconds=state.seconds,
            scaler=stepper.scaler.state_dict(),
            model=copy_state(model),
            best=state.best,
            # A finished run takes no more steps; AdamW's moments are twice the model's size.
            optimiser={} if over else copy_optimiser(stepper.optimiser, model),
        )
        save_checkpoint(self.path, checkpoint)
        write_history(self.folder / "history.jsonl", state.history)

    def resume(self, state: State) -> None:
        """Brings the state to where the folder's run is; a folder without one changes nothing.

        Raises:
            InputError: If the checkpoint is damaged or of another run.

        """
        if not self.path.exists():
            return
        kept = load_checkpoint(self.path)
        check_identity(self.path, kept.identity, self.identity)
        state.model.load_state_dict(kept.model)
        restore_optimiser(state.stepper.optimiser, state.model, kept.optimiser)
        if kept.scaler:
            state.stepper.scaler.load_state_dict(kept.scaler)
        state.history, state.seconds, state.best = kept.history, kept.seconds, kept.best
        # A kill between the two files leaves the history one epoch behind the checkpoint.
        write_history(self.folder / "history.jsonl", state.history)
