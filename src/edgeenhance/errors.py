"""The one exception type for failures of files, models and the kernel."""


class EdgeEnhanceError(Exception):
    """A file, a model or the kernel could not do what was asked; the sentence says what was expected and how to get it.

    Wrong arguments raise `ValueError` or `TypeError` instead.
    """
