"""The error that people are shown without a traceback."""


class UserError(Exception):
    """Something its reader can put right: the message says what was found, what was expected and what to do."""
