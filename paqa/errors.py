"""The one error that paqa raises for wrong input: what was found, what was expected, what to do next."""

from typing import ClassVar


class PaqaError(Exception):
    """Wrong input or a missing requirement; the message is one line for a person. Never retried."""


class MissingObject(PaqaError, KeyError):
    """A store has lost an object that something else rests on."""

    __str__ = Exception.__str__


class DamagedObject(MissingObject):
    """An object's bytes were not those that were written; it has been removed, so that it is made again."""


class DiskFull(PaqaError):
    """There is no room for what was to be written; nothing torn was left."""


class Stopped(PaqaError):
    """Work that was given up because what it belongs to has ended, by Ctrl-C or another error."""


class WorkerDied(PaqaError):
    """The process of a call died under it or had to be ended; other calls are not touched.

    `code` is the reason in quarantine of what it was given alone: None where that depends on the stage.
    """

    code: ClassVar[str | None] = None


class OutOfMemory(WorkerDied):
    """There was not enough memory, of the machine or of its GPU."""

    code = "out_of_memory"


class TimedOut(WorkerDied):
    """The call took longer than its limit, so that its process was ended."""

    code = "timed_out"


class Rejected(PaqaError):
    """One recording, clip or question cannot be used: it becomes a quarantine row and the rest goes on.

    `reason` is a short stable code (a column of quarantine.parquet), the message is the detail.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["Rejected"], tuple[str, str]]:
        return type(self), (self.reason, self.detail)
