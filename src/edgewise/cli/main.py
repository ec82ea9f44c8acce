"""The command ``edgewise``: finds the verb, and turns what goes wrong into one line."""

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from edgewise import __version__
from edgewise.cli import ablate, bench, compare, data, report
from edgewise.core import EdgewiseError, InputError, MissingExtraError

app = App(
    name="edgewise",
    version=__version__,
    help="Kolmogorov-Arnold networks: compare time encoders fairly, and read the result.",
    help_format="plaintext",
)
for _verb in (compare, report, ablate, data, bench):
    _verb.add_to(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 done, 2 the request was at fault, 1 the run failed."""
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
