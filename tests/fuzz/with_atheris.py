"""The readers under Atheris, which looks at what code an input reaches and goes where it is new.

For example: python tests/fuzz/with_atheris.py idx -atheris_runs=200000

It begins with the sound files of the Hypothesis tests. Atheris is in no extra: pip install atheris,
where there is a wheel. Anything but a refusal of Edgewise's own ends it with a traceback and leaves
the input in a file ``crash-…``.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Target = tuple[Callable[[Path], Any], str, Sequence[bytes]]
"""A reader, the end of its files' names, and sound files."""


def targets(folder: Path) -> dict[str, Target]:
    """All readers by name; imported here, so that Atheris sees the code that is imported."""
    import test_fuzz_data as data
    import test_fuzz_models as models
    import test_fuzz_studies as studies

    from edgewise.data.arrays import read_arrays
    from edgewise.train.checkpoint import save_checkpoint

    saved = [models.ew.save(m, folder / f"{i}.sound") for i, m in enumerate(models.models())]
    kept = save_checkpoint(folder / "checkpoint.sound", models.a_checkpoint())
    said = [studies.json.dumps(values).encode() for values in studies.SOUND]
    return {
        "idx": (data.read_idx, "", data.IDX),
        "events": (data.load_table, ".csv", data.EVENTS),
        "events-parquet": (data.load_table, ".parquet", data.EVENT_PARQUETS),
        "numbers": (lambda path: data.load_numbers(path, ["target"]), ".csv", data.TABLES),
        "tabular": (lambda path: data.load_tabular(str(path)), ".csv", data.TABLES),
        "recording": (data.read_recording, ".bin", data.RECORDINGS),
        "arrays": (read_arrays, ".npz", data.ARCHIVES),
        "configuration": (lambda p: studies.make_study(studies.read_json(p)), ".json", said),
        "model": (models.ew.load, ".safetensors", [path.read_bytes() for path in saved]),
        "checkpoint": (models.load_checkpoint, ".safetensors", [kept.read_bytes()]),
    }


def main() -> None:
    """Fuzzes the reader that the first argument names; the other arguments are libFuzzer's."""
    import atheris  # not at the top: pytest looks for doctests here, too
    from fuzzing import outcome

    folder = Path(tempfile.mkdtemp(prefix="edgewise-fuzz-"))
    with atheris.instrument_imports(include=["edgewise"]):
        found = targets(folder)
    if len(sys.argv) < 2 or sys.argv[1] not in found:
        sys.exit(f"usage: with_atheris.py READER [-atheris_runs=N]; readers: {', '.join(found)}")
    read, suffix, sound = found[sys.argv.pop(1)]
    corpus = folder / "corpus"
    corpus.mkdir()
    for place, content in enumerate(sound):
        (corpus / str(place)).write_bytes(content)
    path = folder / f"input{suffix}"

    def once(content: bytes) -> None:
        path.write_bytes(content)
        outcome(lambda: read(path))

    atheris.Setup([*sys.argv, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
