"""What all fuzz tests share: damaged files, odd JSON, a memory limit, and what a reader may raise.

`make test` runs a hundred inputs of each, the same ones every time; `make fuzz` runs as many as
FUZZ_INPUTS says, other ones every time. Hypothesis shrinks what fails to something small.
"""

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from edgewise.core import EdgewiseError

LONG = "FUZZ_INPUTS" in os.environ
INPUTS = int(os.environ.get("FUZZ_INPUTS", "100"))
ROOM = 1 << 30
"""Bytes that reading a file of some kilobytes may take."""

fuzzed = settings(
    max_examples=INPUTS,
    deadline=None,
    database=None,
    derandomize=not LONG,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
"""Decorates each fuzz test."""

NUMBERS = (0, 1, -1, 2, 7, 255, 10**6, 2**31, 2**63 - 1, -(2**63), 10**12, 10**30)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(["", "a:b", ":", "os:system", "édgewise", "\0", "1e999", [], {}, [[]]]),
).map(copy.deepcopy)
"""What may stand anywhere in a JSON file."""


def outcome(read: Callable[[], Any]) -> Any:
    """What a reader gives, or its refusal; anything else that it raises passes through.

    A refusal is an error of Edgewise's own, says something, and is not a want of memory in disguise.
    """
    try:
        with limited():
            return read()
    except EdgewiseError as error:
        # Of a trial's record "peak_memory_bytes" is a key.
        said = str(error).replace("peak_memory_bytes", "")
        assert said.strip(), "an error without a word"
        assert not any(word in said for word in ("malloc", "bad_alloc", "memory")), said
        return error


@contextmanager
def limited() -> Iterator[None]:
    """At most `ROOM` more address space than now, where the system can say so."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (wanted, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


_DAMAGES, _LETTERS = 5, 6


def damaged(sound: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of the sound files with some bytes changed, cut out, put in or doubled; or any bytes.

    All of it is one draw, for Hypothesis takes longer to draw than readers to read.
    """
    size = 2 + _DAMAGES * _LETTERS
    return st.binary(min_size=size, max_size=size).map(lambda code: _decoded(code, sound))


def _decoded(code: bytes, sound: Sequence[bytes]) -> bytes:
    which, count = code[0], code[1] % (_DAMAGES + 1)
    if which >= 240:
        return code[2 : 2 + which - 240 + count]
    data = bytearray(sound[which % len(sound)])
    for place in range(2, 2 + count * _LETTERS, _LETTERS):
        _damage(data, *code[place : place + _LETTERS])
    return bytes(data)


def _damage(data: bytearray, where: int, there: int, how: int, size: int, a: int, b: int) -> None:
    """Does to a file what six letters say."""
    if not data:
        return
    # Near the beginning more often than not: there are the headers.
    end = min(len(data), 64) if where % 2 else len(data)
    at, size = (where >> 1 << 8 | there) % end, 1 + size % 16
    kind = ("flip", "set", "number", "cut", "end", "insert", "double")[how % 7]
    if kind == "flip":
        data[at] ^= 1 << a % 8
    elif kind == "set":
        data[at] = (0, 1, 0x7F, 0x80, 0xFF)[a % 5]
    elif kind == "number":
        width = (2, 4, 8)[size % 3]
        number = NUMBERS[a % len(NUMBERS)] % (1 << 8 * width)
        data[at : at + width] = number.to_bytes(width, "big" if b % 2 else "little")
    elif kind == "cut":
        del data[at : at + size]
    elif kind == "end":
        del data[at:]
    elif kind == "insert":
        data[at:at] = bytes((a + b * k) % 256 for k in range(size))
    else:
        data[at:at] = data[at : at + size]


@st.composite
def altered(draw: st.DrawFn, sound: Sequence[Any]) -> Any:
    """One of the sound JSON values with some of its parts replaced, removed, doubled or renamed."""
    holder = [copy.deepcopy(draw(st.sampled_from(sound)))]
    for _ in range(draw(st.integers(0, 3))):
        _alter(draw, holder)
    return holder[0]


def _alter(draw: st.DrawFn, holder: Any) -> None:
    """Changes one part, at any depth."""
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if not keys:
        return
    key = draw(st.sampled_from(keys))
    if isinstance(holder[key], (dict, list)) and holder[key] and draw(st.integers(0, 3)):
        _alter(draw, holder[key])
        return
    kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "wrap", "rename")))
    if kind == "remove" and isinstance(holder, dict):
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        holder[draw(st.text(max_size=6))] = holder.pop(key)
    elif kind == "wrap":
        holder[key] = draw(st.sampled_from(([holder[key]] * 2, {"recipe": holder[key]})))
    else:
        holder[key] = draw(ODD)
