"""The few exceptions of the house: whose fault it is decides what happens next."""


class EdgewiseError(Exception):
    """Anything Edgewise raises on purpose."""


class InputError(EdgewiseError, ValueError):
    """What was asked for can't be done as asked; the message names the thing, value and way out.

    The command line prints it as one line and exits with status 2.
    """


class RunError(EdgewiseError, RuntimeError):
    """The request was fine but the run failed, for instance because the loss became NaN.

    The command line prints it as one line and exits with status 1.
    """


class MissingExtraError(EdgewiseError, ImportError):
    """An optional dependency is absent; the message names the extra that brings it."""
