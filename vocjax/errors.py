"""The one exception whose text is meant for the person at the keyboard."""


class UserError(Exception):
    """A mistake in input: what was wrong (with the value), what was expected, what to do now.

    The command line prints the text without a traceback and exits with code 1.
    """
