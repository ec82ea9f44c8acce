"""Ground floor: errors, names, randomness and files, for every room above."""

from edgewise.core.checks import check_count
from edgewise.core.errors import EdgewiseError, InputError, MissingExtraError, RunError
from edgewise.core.extras import require
from edgewise.core.files import parse_json, read_json, write_atomically, write_json
from edgewise.core.memory import give_back_memory, keep_freed_memory
from edgewise.core.random import generator, seeded, stream
from edgewise.core.recipe import build, recipe_of, remembers
from edgewise.core.registry import Registry, did_you_mean
