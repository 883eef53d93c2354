"""The stage in which a model at an endpoint is asked about rows: batches of clips, one after the other.

One batch at a time is asked, by `verifier.parallel` threads of one worker, so that the number of requests is
bounded over the whole build. Replies are in the store, so a build that was stopped asks on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from paqa.audio import read_flac, wav
from paqa.config.recipe import Recipe
from paqa.curation import verifier
from paqa.curation.chat_client import ChatClient, Usage, check_endpoint
from paqa.curation.verifier import Asked, VerifiedRow
from paqa.dataset import verifier_table
from paqa.dataset.keys import item_key
from paqa.pipeline.fault_isolation import with_retry
from paqa.pipeline.protocols import Future, Submitted
from paqa.pipeline.rows import light, whole
from paqa.pipeline.stages import BuildState
from paqa.storage import build_folder
from paqa.storage.store import Store
from paqa.types import Clip, Item

STAGE = "verify"
BATCHES = 100  # of a build, at most: progress by a percent
FEWEST_CLIPS = 8  # of a batch


@dataclass(frozen=True)
class VerifiedBatch:
    """Rows of some clips, light but for the texts of those that were reworded, and what they cost."""

    items: tuple[Item, ...]
    rows: tuple[VerifiedRow, ...]
    usage: Usage


def verify(state: BuildState, items: list[Item], clips: Sequence[Clip]) -> list[Item]:
    """Items as the verifier leaves them: some reworded, without those with which it disagrees.

    Writes `verifier.parquet`, and keeps the replies without audio for the shortcut gate. Where the endpoint
    fails, rows stay as they are, and a warning says so.
    """
    config = state.recipe.verifier
    if not config.endpoint or not items:
        return items
    check_endpoint(config)
    kept: list[Item] = []
    rows: list[VerifiedRow] = []
    asking = _Asking(state, {clip.id: clip.sha256 for clip in clips})
    for batch in asking.results(items):
        rows += batch.rows
        for item, row in zip(batch.items, batch.rows, strict=True):
            lost = verifier.disagreeing(item, row, config)
            if lost is None:
                kept.append(item)
            else:
                state.quarantined.append(lost)
    if warning := verifier_table.warning(asking.usage, config.max_requests):
        state.warnings.append(warning)
    choices = {item.id: max(1, len(item.choices)) for item in items}
    state.verified = verifier_table.figures(config.model, asking.usage, rows, choices)
    state.text_answers = {row.id: (row.text_right, row.text_replies) for row in rows if row.text_replies}
    verifier_table.write(build_folder.pending(state.out), rows)
    return kept


class _Asking:
    """Submits batches one after the other; `usage` is what they came to so far."""

    def __init__(self, state: BuildState, digests: Mapping[str, str]):
        self.usage = Usage()
        self._state = state
        self._digests = digests
        self._runner = state.placement.runner(STAGE)

    def results(self, items: Sequence[Item]) -> list[VerifiedBatch]:
        """All batches of items, which are in order of their clips."""
        jobs = list(_batches(items))
        futures: list[Future[VerifiedBatch]] = []
        for job in jobs:  # each waits for the one before: the number of requests is that of all
            submitted = self._state.executor.submit(
                STAGE, [partial(self._call, job)], [len(job)], "rows", futures[-1:]
            )
            futures += submitted.futures
        return self._state.executor.results(Submitted(STAGE, futures, [len(job) for job in jobs], "rows"))

    def _call(self, job: Sequence[Item]) -> VerifiedBatch:
        state = self._state
        settled = state.earlier.rows.keys() if state.earlier else set()
        stored = frozenset(item.id for item in job if item.id in settled)
        left = state.recipe.verifier.max_requests - self.usage.requests
        ids = dict.fromkeys(item.clip_id for item in job)
        clips = {clip_id: (state.row_keys[clip_id], self._digests[clip_id]) for clip_id in ids}
        call: Callable[[], Any] = partial(
            verify_batch, job, clips, stored, state.recipe, state.store, (left, self.usage.stopped)
        )
        batch: VerifiedBatch = with_retry(partial(self._runner, None), STAGE, call)
        self.usage += batch.usage
        return batch


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Items by whole clips, at most BATCHES of them where clips are many."""
    by_clip = [list(group) for _, group in groupby(items, key=lambda item: item.clip_id)]
    size = max(FEWEST_CLIPS, -(-len(by_clip) // BATCHES))
    for i in range(0, len(by_clip), size):
        yield [item for clip_items in by_clip[i : i + size] for item in clip_items]


def verify_batch(
    items: Sequence[Item],
    clips: Mapping[str, tuple[str, str]],
    stored: frozenset[str],
    recipe: Recipe,
    store: Store,
    rest: tuple[int, str],
) -> VerifiedBatch:
    """Ask about the rows of some clips, of which the store has the rows and the audio.

    `clips` has of each clip, by id, the key of its rows and the digest of its samples. About `stored` rows
    nothing is sent. `rest` is how many requests are left, and why the endpoint is asked no more, or "".
    """
    config, gates = recipe.verifier, recipe.gates
    row_keys = {clip_id: row_key for clip_id, (row_key, _) in clips.items()}
    by_clip = [list(group) for _, group in groupby(items, key=lambda item: item.clip_id)]
    client = ChatClient(config, store, *rest)

    def ask(of_clip: Sequence[Item]) -> tuple[list[Item], list[VerifiedRow]]:
        sha256 = clips[of_clip[0].clip_id][1]
        asked = Asked(list(whole(of_clip, row_keys, store)), sha256, stored)
        new, rows = verifier.verify(
            asked, config, gates, client, lambda: wav(read_flac(store.get(sha256, ".flac")))
        )
        return [_light(item, row, sha256) for item, row in zip(new, rows, strict=True)], rows

    try:
        with ThreadPoolExecutor(config.parallel) as pool:
            answered = list(pool.map(ask, by_clip))
    finally:
        client.close()
    new_items = tuple(item for items_, _ in answered for item in items_)
    usage = replace(client.usage, stopped="" if rest[1] else client.usage.stopped)
    return VerifiedBatch(new_items, tuple(row for _, rows in answered for row in rows), usage)


def _light(item: Item, row: VerifiedRow, sha256: str) -> Item:
    """A light item; one that was reworded has its new rationale and key."""
    if row.original_rationale is None:
        return light(item)
    return replace(light(item), rationale=item.rationale, key=item_key(item, sha256))
