"""When a search has to end: by a number of CPU-seconds, or at once when it is called off."""

import math
import time
from typing import NamedTuple


class Clock:
    """The CPU-seconds of this process; later than any deadline once it is stopped."""

    def __init__(self) -> None:
        self._is_stopped = False

    def __call__(self) -> float:
        """The time."""
        return math.inf if self._is_stopped else time.process_time()

    def stop(self) -> None:
        """Lets all deadlines by this clock pass; from any thread."""
        self._is_stopped = True


class Deadline(NamedTuple):
    """A time by a clock.

    Example:
        >>> clock = Clock()
        >>> whole = Deadline.after(60.0, clock)
        >>> part = whole.within(0.5 * whole.left)
        >>> part.passed, 29.0 < part.left <= 30.0
        (False, True)
        >>> clock.stop()
        >>> part.passed, part.left
        (True, 0.0)

    """

    at: float
    clock: Clock

    @staticmethod
    def after(seconds: float, clock: Clock | None = None) -> "Deadline":
        """In so many seconds, by a clock of its own if none is given."""
        clock = clock or Clock()
        return Deadline(clock() + seconds, clock)

    def within(self, seconds: float) -> "Deadline":
        """In so many seconds, but no later than this one."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    @property
    def passed(self) -> bool:
        """Whether the time is up."""
        return self.clock() > self.at

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return max(0.0, self.at - self.clock())
