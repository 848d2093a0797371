"""The errors that people are shown without a traceback."""


class UserError(Exception):
    """Something its reader can put right: the message says what was found, what was expected and what to do."""


class NoEncodersError(UserError):
    """The run of stage 1 whose encoders a run starts from has not been trained."""
