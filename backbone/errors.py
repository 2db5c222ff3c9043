"""The one exception for bad input."""


class InputError(ValueError):
    """Something that the user gave does not fit: an argument, a file, a value in a file.

    The message is one or two lines and complete: it names the file or argument, the value, what is allowed, and the
    remedy. The command line prints it without a traceback and exits with 2.
    """
