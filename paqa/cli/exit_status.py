"""How a command ends, whatever the environment: with a status, and one line on stderr for what stopped it."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import select
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from paqa.errors import PaqaError, Stopped
from paqa.storage.redact import mask_secrets

WRONG, UNEXPECTED, INTERRUPTED, BROKEN_PIPE = 2, 70, 130, 141  # statuses; the last two are a shell's
TRACEBACK = "PAQA_TRACEBACK"  # set, errors that nobody expected come with their traceback

Command = Callable[[argparse.Namespace], int]


def run(
    parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    command: Command,
    stopped: str,
    extras: Mapping[str, str],
) -> int:
    """Parse `argv`, run `command`, and return its status: 2 for errors, 130 for Ctrl-C, 141 for EPIPE.

    `stopped` is what Ctrl-C is answered with; `extras` has the extra of paqa that a command's packages come
    with.
    """
    atexit.register(gc.freeze)  # else Python looks for garbage among all its modules for a second as it ends
    open_streams()
    name = parser.prog
    try:
        try:
            args = parser.parse_args(argv)
            name = f"{parser.prog} {args.command}"
            return command(args)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except (KeyboardInterrupt, Stopped):
        return _complain(f"\n{stopped}", INTERRUPTED)
    except PaqaError as error:
        return _complain(f"{name}: {mask_secrets(str(error))}", WRONG)
    except ModuleNotFoundError as error:
        extra = extras.get(name.split()[-1], "all")
        return _complain(f"{name}: {error.name} is not installed; run: uv pip install 'paqa[{extra}]'", WRONG)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _unread():
            return _quiet(BROKEN_PIPE)
        where = error.filename or "disk or network"
        return _complain(f"{name}: {mask_secrets(f'{where}: {error.strerror or error}')}", WRONG)
    except ImportError as error:  # also of what a library needs for a variable's value, as for a SOCKS proxy
        return _complain(f"{name}: {_on_one_line(error)}", WRONG)
    except Exception as error:  # noqa: BLE001  # the last place that could say it in a line
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        if _from_outside(error):
            return _complain(f"{name}: disk or network: {_on_one_line(error)}", WRONG)
        return _complain(f"{name}: {_unexpected(error)}", UNEXPECTED)


def open_streams() -> None:
    """Open empty streams for stdin, stdout or stderr that are closed, and let any text be written.

    A file that is opened would take the number of a closed stream, and get what libraries write there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a stream that a test put there
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _complain(line: str, status: int) -> int:
    """Print a line on stderr where that can be; returns `status`."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    return _quiet(status)


def _quiet(status: int) -> int:
    """Have Python's own last flush of stdout and stderr not fail; returns `status`."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return status


def _unread() -> bool:
    """Whether nobody reads stdout or stderr any more, as after `| head`; other pipes break as well."""
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0))


def _from_outside(error: BaseException | None) -> bool:
    """Whether an error was caused by one of the operating system, as many errors of HTTP clients are."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error is not None


def _on_one_line(error: Exception) -> str:
    return mask_secrets(" ".join(str(error).split())[:500] or "no message")


def _unexpected(error: Exception) -> str:
    """One line about an error that nobody expected: what it is, and where it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{last.filename}:{last.lineno}"
    return f"{type(error).__name__}: {_on_one_line(error)} ({place}); {TRACEBACK}=1 shows its traceback"
