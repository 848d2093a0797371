"""The errors that are shown to users without a traceback."""


class UserError(Exception):
    """An error the user can fix: the message says what was found, what was expected and what to do."""


class NoEncodersError(UserError):
    """The stage-1 run that should provide the encoders has not been trained."""
