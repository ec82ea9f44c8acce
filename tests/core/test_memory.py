"""Freed memory is kept by a process that asks for it, and by no other."""

import subprocess
import sys

import pytest

from edgewise.core import memory

GLIBC = memory._of_c_library("mallopt") is not None
needs_glibc = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")

# Page faults of one block of 48 MiB, written and freed, after some others.
FAULTS = """
import resource, sys
import torch
from edgewise.core import give_back_memory, keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def resident():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
print(keep_freed_memory() if "keep" in sys.argv else None)
for _ in range(12):
    before = faults()
    torch.ones(12 * 2**20)
print(faults() - before)
before = resident()
print(give_back_memory(), before - resident())
"""


def run(*arguments, **environment):
    answer = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.split()


@needs_glibc
def test_blocks_are_used_again_and_given_back_when_asked():
    kept, faults, given, kibibytes = run("keep")
    assert kept == "True"
    assert int(faults) < 100
    assert given == "True"
    assert int(kibibytes) > 40_000


@needs_glibc
def test_without_it_every_page_is_asked_for_anew():
    kept, faults, *_ = run()
    assert kept == "None"
    assert int(faults) > 10_000  # of 12 288


@needs_glibc
def test_who_says_how_memory_is_handled_is_left_with_it():
    assert run("keep", MALLOC_ARENA_MAX="2")[0] == "False"
    assert run("keep", GLIBC_TUNABLES="glibc.malloc.arena_max=2")[0] == "False"
    assert run("keep", GLIBC_TUNABLES="glibc.pthread.rseq=0")[0] == "True"


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory, "_of_c_library", lambda name: None)
    assert memory.keep_freed_memory() is False
    assert memory.give_back_memory() is False
