"""Prefect's artifacts, as decoration: a server that does not answer costs a build no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import httpx
from prefect import artifacts
from prefect.logging import get_run_logger

P = ParamSpec("P")
R = TypeVar("R")
PAUSES = (1.0, 3.0, 6.0)  # seconds: a server that was killed is back within ten


def _if_possible(make: Callable[P, R], pauses: tuple[float, ...] = ()) -> Callable[P, R | None]:
    """`make`, or None and a line in the log where the server does not answer."""

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> R | None:
        for pause in (*pauses, None):
            try:
                return make(*args, **kwargs)
            except httpx.HTTPError as error:
                if pause is None:
                    get_run_logger().warning("the Prefect server did not take an artifact: %s", error)
                    return None
                time.sleep(pause)
        return None

    return made


create_link_artifact = _if_possible(artifacts.create_link_artifact, PAUSES)
create_markdown_artifact = _if_possible(artifacts.create_markdown_artifact, PAUSES)
create_progress_artifact = _if_possible(artifacts.create_progress_artifact)
create_table_artifact = _if_possible(artifacts.create_table_artifact, PAUSES)
update_progress_artifact = _if_possible(artifacts.update_progress_artifact)
