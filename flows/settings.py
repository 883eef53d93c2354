"""Prefect's settings of a build, whatever the environment holds: another installation's, proxies, or nothing.

They are environment variables, which `prefect` reads when it is imported.
"""

import os
import sys
from pathlib import Path

from paqa.errors import PaqaError

# What only deployments, schedules and automations need. The event persister and the task run recorder stay
# on, and so
# does what takes a GPU's slot (flows/places.py) back from a build that was killed.
IDLE_SERVICES = (
    "SCHEDULER",
    "LATE_RUNS",
    "FOREMAN",
    "PAUSE_EXPIRATIONS",
    "CLEANUP_RECONCILER",
    "CANCELLATION_CLEANUP",
    "TRIGGERS",
)
ELSEWHERE = tuple(
    f"PREFECT_{name}_" for name in ("API", "CLIENT", "CLOUD", "MESSAGING", "PROFILES", "SERVER", "UI")
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def folder(home: Path) -> Path:
    """Where the server over `home` keeps all it has."""
    return Path(home).resolve() / "prefect"


def environment(home: Path) -> dict[str, str]:
    """Prefect's environment variables for everything over `home`; set them before `prefect` is imported.

    All state lies in `home/prefect`, nothing is reported to anybody, and the console stays ours: Prefect's
    own lines and those of `get_run_logger()` go to the UI and not to stderr (paqa prints errors itself). What
    the user has set of these wins, except PREFECT_HOME; that stays theirs (it may hold an API key) where
    PREFECT_API_URL names another server. Proxies that Prefect's client cannot use are emptied: it would die
    of them on its way to this machine.
    """
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",  # it tells of a server that is away, at length
        # a flow logs its stages, not each of their tasks
        "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # 1 by default: 75 task runs a second
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # 5 by default
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # 30 by default: a GPU would idle
        "PREFECT_SERVER_CONCURRENCY_MAXIMUM_CONCURRENCY_SLOT_WAIT_SECONDS": "0.5",
    } | {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in IDLE_SERVICES}
    here = {key: os.environ.get(key, value) for key, value in defaults.items()}
    here |= dict.fromkeys(("no_proxy", "NO_PROXY"), _no_proxy()) | dict.fromkeys(unusable_proxies(), "")
    return here if os.environ.get("PREFECT_API_URL") else here | {"PREFECT_HOME": str(folder(home))}


def applied(home: Path) -> dict[str, str]:
    """The environment with `environment`, without what another installation of Prefect has set.

    That is how its server is configured and reached: authentication, its database, its path. All of it stays
    where PREFECT_API_URL says that this server is to be used.
    """
    here = environment(home)
    theirs = () if os.environ.get("PREFECT_API_URL") else (*ELSEWHERE, "PREFECT_PROFILE")
    return {key: value for key, value in os.environ.items() if not key.startswith(theirs)} | here


def apply(home: Path) -> None:
    """Make `applied` the environment of this process; says on stderr which proxies are left out.

    Raises PaqaError where a variable would keep Prefect's client from starting.
    """
    for name, why in unusable_proxies().items():
        print(f"{name} is left out, connections go without it: {why}", file=sys.stderr, flush=True)
    certificates = os.environ.get("SSL_CERT_FILE")
    if certificates and not os.access(certificates, os.R_OK):
        raise PaqaError(
            f"SSL_CERT_FILE is {certificates}, which cannot be read: correct the variable, or unset it"
        )
    replace_environment(applied(home))


def replace_environment(variables: dict[str, str]) -> None:
    """Make `variables` the environment of this process."""
    for key in set(os.environ) - set(variables):
        del os.environ[key]
    os.environ.update(variables)


def unusable_proxies() -> dict[str, str]:
    """Variables that name proxies which httpx (Prefect's client) cannot use, and why."""
    addresses = {name: os.environ.get(name) for base in PROXIES for name in (base, base.upper())}
    return {name: why for name, address in addresses.items() if address and (why := _unusable(address))}


def _unusable(address: str) -> str:
    """What httpx says about a proxy that it cannot use, "" of others; opens no connection."""
    import httpx

    try:
        httpx.HTTPTransport(proxy=address if "://" in address else f"http://{address}", verify=False).close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        return str(error).splitlines()[0]
    return ""


def _no_proxy() -> str:
    """NO_PROXY with this machine in it: Prefect's clients would look for the server behind a proxy.

    Some libraries read the name in small letters alone, or rather than the other, so both are to be this.
    """
    hosts = [
        host.strip() for name in ("no_proxy", "NO_PROXY") for host in os.environ.get(name, "").split(",")
    ]
    return "*" if "*" in hosts else ",".join(dict.fromkeys([*filter(None, hosts), "127.0.0.1", "localhost"]))
