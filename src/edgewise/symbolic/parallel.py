"""A search on several cores: attempts side by side, judged in their order."""

import math
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch

from edgewise.core import RunError
from edgewise.symbolic.attempts import attempts
from edgewise.symbolic.deadline import Clock, Deadline
from edgewise.symbolic.functions import (
    FUNCTIONS,
    Function,
    choose_functions,
    find_function,
    is_own,
)
from edgewise.symbolic.problem import EXACT_ERROR, Candidate, Problem

ALONE = 2.0
"""CPU-seconds before other processes are started: most formulas are found by then."""


class Outcome(NamedTuple):
    """What came of one attempt; ``late`` if there was no time left to begin it."""

    candidates: list[Candidate]
    solved: bool
    seconds: float
    late: bool = False

    @property
    def least_error(self) -> float:
        """That of its best candidate."""
        return min((candidate.error for candidate in self.candidates), default=math.inf)

    @property
    def exact(self) -> bool:
        """Whether a candidate gives the target to rounding."""
        return self.least_error < EXACT_ERROR


class _Search(NamedTuple):
    """All that decides what a process tries; the user's own functions by what they are made of."""

    x: np.ndarray
    y: np.ndarray
    names: Sequence[str]
    functions: Sequence[str]
    own: Sequence[dict[str, Any]]
    seed: int
    budget: float


class _Tries:
    """The attempts at a problem, each as if it were the first: so any process may run any of them.

    Attempts of one process learn from each other how much noise there is; here none does.
    """

    def __init__(self, problem: Problem, functions: list[Function], seed: int) -> None:
        self.problem, self.noisy = problem, problem.noisy
        self.attempts, self.place = attempts(problem, functions, seed), 0
        self.seconds = 0.0

    def run(self, place: int) -> Outcome:
        """The attempt at a place that is not before the last one's."""
        problem, start = self.problem, time.process_time()
        if problem.deadline.passed:
            return Outcome([], False, 0.0, late=True)
        problem.candidates, problem.solved, problem.noisy = [], False, self.noisy
        problem.least = problem.least_error = math.inf
        attempt = next(self.attempts)
        for _ in range(place - self.place):
            attempt = next(self.attempts)
        self.place = place + 1
        attempt()
        took = time.process_time() - start
        self.seconds += took
        return Outcome(problem.candidates, problem.solved, took)


def search_on_cores(
    problem: Problem, functions: list[Function], seed: int, workers: int
) -> tuple[list[Candidate], float]:
    """Runs attempts until one settles the problem of which all before it have ended too.

    So the result depends on how many processes there are, and how fast, only where the time is up.
    This process takes its share and waits for none to start.

    Returns:
        The candidates, and the CPU-seconds of other processes.

    Raises:
        RunError: If a process is lost.

    """
    tries, deal, judge = _Tries(problem, functions, seed), _Deal(problem.deadline.clock), _Judge()
    begin, is_alone = time.process_time() + ALONE, True
    with ExitStack() as helpers:
        while problem.left and not judge.is_found:
            if is_alone and time.process_time() >= begin:
                is_alone, search = False, _search(problem, functions, seed)
                for _ in range(workers - 1):
                    helpers.callback(_Helper(search, deal).stop)
            place = deal.take_here()
            deal.give(place, tries.run(place))
            while deal.has_news:
                judge.hear(*deal.hear())
        deal.close()
        while deal.running and not judge.is_settled:
            judge.hear(*deal.hear())
    return judge.candidates, judge.seconds - tries.seconds


def _search(problem: Problem, functions: list[Function], seed: int) -> _Search:
    return _Search(
        problem.x.numpy(),
        problem.y.numpy(),
        problem.names,
        [function.name for function in functions],
        [vars(find_function(name)) for name in FUNCTIONS if is_own(name)],
        seed,
        problem.left,
    )


_Given = tuple[int | None, Outcome | BaseException]


class _Deal:
    """Deals out the places of attempts, in their order, and is given what came of them.

    Attributes:
        running: How many places are dealt out of which nothing was heard yet.

    """

    def __init__(self, clock: Clock) -> None:
        self.running, self._clock, self._here = 0, clock, -1
        self._given: queue.SimpleQueue[tuple[int | None, Outcome | BaseException]] = (
            queue.SimpleQueue()
        )
        self._lock, self._place, self._is_open = threading.Lock(), 0, True

    def take(self) -> int | None:
        """The next place; None once it is closed."""
        with self._lock:
            if not self._is_open:
                return None
            self._place, self.running = self._place + 1, self.running + 1
            return self._place - 1

    def take_here(self) -> int:
        """The next place, for this process."""
        self._here = self.take()
        return self._here

    def give(self, place: int | None, outcome: Outcome | BaseException) -> None:
        """Hands over what came of a place, or, without one, why a process did not come to any."""
        if isinstance(outcome, Outcome) and outcome.exact and place < self._here:
            # What this process is at does not matter any more.
            self._clock.stop()
        self._given.put((place, outcome))

    @property
    def has_news(self) -> bool:
        """Whether :meth:`hear` would not have to wait."""
        return not self._given.empty()

    def hear(self) -> _Given:
        """A place and what came of it, in the order in which they were handed over."""
        given = self._given.get()
        with self._lock:
            self.running -= 1
        return given

    def close(self) -> None:
        """Deals out nothing more."""
        with self._lock:
            self._is_open = False


class _Judge:
    """Hears outcomes as they come and judges them in their order.

    Attributes:
        candidates: Those of the attempts up to the one that settled the problem.
        is_settled: Whether one did.
        is_found: Whether the search can end: that, or an exact one whose turn has not come.
        seconds: CPU-seconds of all attempts.

    """

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.is_settled, self.is_found, self.seconds = False, False, 0.0
        self._early: dict[int, Outcome] = {}
        self._turn, self._least_error = 0, math.inf

    def hear(self, place: int | None, outcome: Outcome | BaseException) -> None:
        """Keeps an outcome until its turn.

        Raises:
            RunError: If the process was lost that had it.

        """
        if isinstance(outcome, BaseException):
            raise RunError(
                f"a process of the search was lost ({(str(outcome).splitlines() or ['?'])[0]}): "
                f"give it fewer workers, or fewer rows if memory was short"
            ) from outcome
        self.seconds += outcome.seconds
        self._early[place] = outcome
        while self._turn in self._early and not self.is_settled:
            self._take(self._early.pop(self._turn))
            self._turn += 1
        self.is_found = self.is_found or self.is_settled or outcome.exact

    def _take(self, outcome: Outcome) -> None:
        self.candidates += outcome.candidates
        # What is worse than what came before leaves more than noise.
        is_best = outcome.least_error < 1.02 * self._least_error
        self.is_settled = outcome.exact or (outcome.solved and is_best)
        self._least_error = min(self._least_error, outcome.least_error)


class _Helper:
    """Another process, which asks for places once it stands."""

    def __init__(self, search: _Search, deal: _Deal) -> None:
        from loky import ProcessPoolExecutor  # only those who ask for it wait for the import

        self.deal = deal
        self.pool = ProcessPoolExecutor(1, env={"OMP_NUM_THREADS": "1"})
        # As a call, not to initialise the process: this one would wait till the other reads it.
        self._submit(None, _begin, search)

    def _submit(self, place: int | None, *call: Any) -> None:
        try:
            self.pool.submit(*call).add_done_callback(lambda future: self._done(place, future))
        except RuntimeError as error:
            # It was lost, or told to stop, in between.
            self.deal.give(place, error)

    def _done(self, place: int | None, future: Future) -> None:
        """Hands over what came of a place and asks for the next; called by a thread of the pool."""
        if future.cancelled():
            return
        error = future.exception()
        if error is not None or place is not None:
            self.deal.give(place, error or future.result())
        if error is not None or (place is not None and future.result().late):
            return
        following = self.deal.take()
        if following is not None:
            self._submit(following, _run, following)

    def stop(self) -> None:
        """Ends it, in the middle of an attempt too."""
        self.deal.close()
        self.pool.shutdown(kill_workers=True)


_TRIES: list[_Tries] = []
"""In a process of a helper: its one search."""


def _begin(search: _Search) -> None:
    torch.set_num_threads(1)
    for parts in search.own:
        FUNCTIONS.register(parts["name"])(Function(**parts))
    x, y = torch.from_numpy(search.x), torch.from_numpy(search.y)
    problem = Problem(x, y, search.names, Deadline.after(search.budget))
    _TRIES.append(_Tries(problem, choose_functions(search.functions), search.seed))


def _run(place: int) -> Outcome:
    return _TRIES[0].run(place)
