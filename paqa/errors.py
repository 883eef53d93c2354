"""The one error that paqa raises for wrong input: what was found, what was expected, what to do next."""


class PaqaError(Exception):
    """Wrong input or a missing requirement; the message is one line for a person. Never retried."""


class MissingObject(PaqaError, KeyError):
    """A store has lost an object that something else rests on."""

    __str__ = Exception.__str__


class DamagedObject(MissingObject):
    """An object's bytes were not those that were written; it has been removed, so that it is made again."""


class DiskFull(PaqaError):
    """There is no room for what was to be written; nothing torn was left."""


class WorkerDied(PaqaError):
    """The process that ran a call died under it; the message says how. Other calls are not touched."""


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
