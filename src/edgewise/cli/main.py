"""The command ``edgewise``: finds the verb, and turns what goes wrong into one line."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from edgewise import __version__
from edgewise.core import EdgewiseError, InputError, MissingExtraError

app = App(
    name="edgewise",
    version=__version__,
    help="Kolmogorov-Arnold networks: train them, compare time encoders fairly, read the result.",
    help_format="plaintext",
)
# By name: a verb's file, and torch with it, is imported when the verb is used. The text stands here
# because cyclopts would import the file to show it.
for _verb, _help in {
    "compare": """Compares time encoders, or models, over seeds, and writes the report.

For example: edgewise compare --encoders learned,lete,kmote --seeds 6 --out runs/mine""",
    "report": """Redoes analysis, figures and report from what a folder holds.

For example: edgewise report runs/mine""",
    "ablate": """Trains every combination of the lists in a configuration; same report.

For example: edgewise ablate examples/ablation.json --out runs/ablation""",
    "search": """Searches the settings of a study on the validation split, then tests the best.

For example: edgewise search examples/search.json --trials 40 --out runs/search""",
    "status": """Says how far a study is, while it runs or after it stopped.

For example: edgewise status runs/mine""",
    "train": """Trains one network on images.

For example: edgewise train --dataset mnist --num-layers 2 --hidden-dim 64 --num-epochs 10""",
    "evaluate": """Loss and accuracy of a saved network.

For example: edgewise evaluate trained_kan_model.safetensors --dataset mnist""",
    "landscape": """Curvature, spectrum and path of the loss around a saved model, with a report.

For example: edgewise landscape trained_kan_model.safetensors --out runs/landscape""",
    "formula": """Finds formulas for columns of a table, and writes a report.

For example: edgewise formula data.csv --target y --out runs/formula""",
    "export": """Writes a saved model in another format, compared with the model first.

For example: edgewise export kan.safetensors --format onnx --out kan.onnx""",
    "data": """Lists data sets, and fetches them.

For example: edgewise data fetch mnist""",
    "bench": """Timing tables; run them on a quiet machine.

For example: edgewise bench encoders --rounds 15""",
}.items():
    app.command(f"edgewise.cli.{_verb}:app", name=_verb, help=_help)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 2 the request was at fault, 1 the run failed."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no dash gets a question mark, not a traceback.
        stream.reconfigure(errors="replace")
    sys.exit(run(list(sys.argv[1:] if arguments is None else arguments)))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit status."""
    try:
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        # Only what was said: a configuration file is overruled by flags, not by their defaults.
        return int(command(*bound.args, **bound.kwargs) or 0)
    except CycloptsError as error:
        return _complain(error, 2)
    except (InputError, MissingExtraError) as error:
        return _complain(error, 2)
    except EdgewiseError as error:
        return _complain(error, 1)
    except OSError as error:
        return _complain(error, 1)
    except KeyboardInterrupt:
        return _complain("interrupted; what was finished is kept, the same command goes on", 130)


def _complain(message: object, status: int) -> int:
    line = " ".join(str(message).split())
    print(f"edgewise: {line}", file=sys.stderr)
    return status
