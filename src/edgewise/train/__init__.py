"""One run: train a model, choose its best epoch, keep it safe, and evaluate it."""

from edgewise.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgewise.train.distributed import is_first, joined, world
from edgewise.train.evaluate import Evaluation, evaluate
from edgewise.train.history import best_epoch, read_history, write_history
from edgewise.train.loggers import LOGGERS, check_loggers, make_loggers
from edgewise.train.logs import CSVLog
from edgewise.train.loop import fit
from edgewise.train.mlx_loop import train_mlx
from edgewise.train.parameter_names import activation_parameters, matching
from edgewise.train.progress import ProgressBar
from edgewise.train.run import Run
from edgewise.train.settings import Settings
from edgewise.train.source import Batch, Source
from edgewise.train.step import Step
from edgewise.train.unfreeze import Unfreezing, first_epochs
