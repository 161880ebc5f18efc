"""One family of exceptions for what a caller can mend.

Every message says what was expected, what was found, and what to do next. Mistakes that only this package can make are
assertions instead.
"""


class SessionRecError(Exception):
    """Base of all errors a user of the package can mend."""


class ConfigError(SessionRecError):
    """A config has an unknown key, a wrong type or a value outside its range."""


class LogError(SessionRecError):
    """A raw log cannot be read as asked: a file, a column or a row is not what was expected."""


class ArtifactError(SessionRecError):
    """A folder that should hold a finished artifact does not, or holds another kind or version."""


class EmptyDatasetError(SessionRecError):
    """Nothing is left after the positive rule and the filters."""


class MissingExtraError(SessionRecError):
    """An optional package is needed; the message names the extra that brings it."""


class HistoryError(SessionRecError, ValueError):
    """Histories, candidates or users handed to a model are not what it can read."""


class ScoreError(SessionRecError, ValueError):
    """A model's scores are no finite numbers."""
