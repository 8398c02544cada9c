"""The errors that end a command or a start. Each message is one line that says what is wrong and what to do about it.

MetrionError
├── BillingError      Stripe cannot be reached, or refuses what it was asked for
├── BusyError         too much of this is under way; the same works in a moment
├── ConfigError       a setting is unknown or malformed (exit code 2)
├── InputError        what was asked for cannot be done: unknown account, malformed e-mail address, …
├── LockedError       another process works on the data directory
├── StorageError      the database is missing, damaged, or of another version
└── VaultError        the master key is missing, malformed or another one, or a sealed value does not open
"""


class MetrionError(Exception):
    """An error whose message is meant for people; it holds no secret."""

    exit_code = 1


class BillingError(MetrionError):
    """Stripe cannot be reached, or refuses what it was asked for."""


class BusyError(MetrionError):
    """Too much of this is under way; the same works in a moment."""


class ConfigError(MetrionError):
    """A setting is unknown or malformed."""

    exit_code = 2


class InputError(MetrionError):
    """What was asked for cannot be done. `field`: the form's field whose content is at fault, "" where none is."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class LockedError(MetrionError):
    """Another process works on the data directory."""


class StorageError(MetrionError):
    """The database is missing, damaged, or of another version."""


class VaultError(MetrionError):
    """The master key or a sealed value is not what it should be."""
