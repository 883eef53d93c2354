"""Slots of this machine's GPU, as a concurrency limit of the Prefect server that builds share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

LIMIT = "paqa-gpu"  # its name in the Prefect UI (Concurrency)
LEASE_SECONDS = 60  # after which the slot of a build that was killed is free again


def limit(name: str, slots: int | None) -> int:
    """Create the named limit on the Prefect server, or change it to `slots`; returns its slots.

    One that is there already stays as somebody set it in the UI, where `slots` is None.
    """
    with get_client(sync_client=True) as client:
        try:
            current = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots or 1))
            return slots or 1
        if slots is not None and current.limit != slots:
            client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=slots))
        return slots or current.limit


@contextmanager
def slot(name: str) -> Iterator[None]:
    """Hold one slot of a named limit of the Prefect server, waiting for it."""
    with concurrency(name, strict=True, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False):
        yield
