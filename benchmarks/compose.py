"""What scenes, questions, rationales and gates cost for 5,000 items, no model involved: `python
benchmarks/compose.py`.

Scenes are composed from the demo corpus, and what the engines would hear is made from their truth: the clean
speech as the speech stem, the truth's turns, words and sounds, and on the raw mix the same without the last
sound and with the last voice taken for the first. One process, one core.
"""

from __future__ import annotations

import argparse
import cProfile
import pickle
import pstats
import resource
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from paqa.config.recipe import Recipe
from paqa.curation import shortcuts
from paqa.curation.answer_balance import elsewhere, survey
from paqa.dataset import shards
from paqa.perception import engine_runs
from paqa.perception.engine_runs import StoredOutput
from paqa.pipeline import ingest, recipe_files, worker_steps
from paqa.pipeline.rows import Composed, compose, light
from paqa.storage.batching import batches
from paqa.storage.store import Store
from paqa.types import Clip, Item, Scene, Turn, Word

ROOT = Path(__file__).parents[1]


def composed(config: Recipe, store: Store) -> list[Clip]:
    """All clips of a recipe's mixes, rendered into the store."""
    found, lost = ingest.gather(config)
    material: dict[str, list[Clip]] = {}
    for source in config.sources:
        material[source.name] = list(
            ingest.decode_recordings(found[source.name], source, config, store).clips
        )
    by_id = {clip.id: clip for clips in material.values() for clip in clips}
    mixtures = worker_steps.mixtures(config, material, lost)
    return list(worker_steps.render_mixtures(mixtures, by_id, config, store).clips)


def words(turns: tuple[Turn, ...]) -> tuple[Word, ...]:
    """The words of turns, evenly spaced."""
    found = []
    for turn in turns:
        said = turn.text.split()
        step = (turn.end_ms - turn.start_ms) // max(1, len(said))
        found += [
            Word(turn.start_ms + i * step, turn.start_ms + (i + 1) * step, w) for i, w in enumerate(said)
        ]
    return tuple(sorted(found, key=lambda w: w.start_ms))


def listen(clip: Clip, config: Recipe, store: Store) -> None:
    """Put what engines would hear into the store."""
    truth: Scene = clip.truth  # type: ignore[assignment]
    separation, *nodes = engine_runs.engine_runs(config)
    store.put(
        engine_runs.output_key(clip, separation, separation),
        ".flac",
        store.get(str(clip.reference_sha256), ".flac"),
    )
    for node in nodes:
        raw = node.stem == "mix" and node.stage in engine_runs.RAW_MIX_STAGES
        turns, events = truth.turns, truth.events[:-1] if raw else truth.events
        if raw and turns:
            turns = (*turns[:-1], replace(turns[-1], speaker=1))
        heard = StoredOutput(turns=turns, events=events, words=words(truth.turns), language="en")
        store.put_json(engine_runs.output_key(clip, node, separation), heard)


def main() -> None:
    """Compose the items and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--reflect", type=float, default=0.5)
    parser.add_argument("--guess", action="store_true", help="try what the text alone answers")
    parser.add_argument(
        "--copies", type=int, default=0, help="hold so many copies of all items, as a build of them would"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    args = parser.parse_args()
    base = recipe_files.load(ROOT / "manifests" / "demo.toml")
    scenes = -(-args.items // 7)
    mixes = (replace(base.mix[0], scenes=scenes * 3 // 4), replace(base.mix[2], scenes=scenes // 4))
    config = replace(base, mix=mixes, questions=replace(base.questions, reflect=args.reflect))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        clips = composed(config, store)
        for clip in clips:
            listen(clip, config, store)
        profile = cProfile.Profile()
        if args.profile:
            profile.enable()
        began = time.process_time()
        done = compose(clips, config, store, elsewhere(clips, survey(clips, config, store)))
        spent = time.process_time() - began
        profile.disable()
        report(clips, done.items, Counter(q.reason for q in done.quarantined), spent)
        if args.guess:
            began = time.process_time()
            thinned = shortcuts.thin(shortcuts.texts(done.items), config.gates)
            print(f"shortcuts   {time.process_time() - began:.1f} s, {len(thinned.left_out)} rows left out")
            print(shortcuts.text(thinned.scored.report))
        if args.copies:
            held(clips, done, args.copies, config)
        if args.profile:
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def held(clips: list[Clip], done: Composed, copies: int, config: Recipe) -> None:
    """The memory of the process that holds a build's items, tries what their text gives away and plans their
    files.

    Each copy comes through pickle under other ids, as batches of a worker do, and shares nothing with the
    others.
    """
    base = memory()
    items: list[Item] = []
    voices: list[Clip] = []
    for n in range(copies):
        for part in batches([light(item) for item in done.items], lambda _: 1, 500):
            items += (_copy(item, n) for item in pickle.loads(pickle.dumps(part)))
        voices += (replace(clip, id=f"{clip.id}~{n}") for clip in pickle.loads(pickle.dumps(clips)))
    began = time.process_time()
    thinned = shortcuts.thin(shortcuts.texts(items), config.gates)
    kept, _ = shortcuts.mark(items, thinned)
    plans = shards.plan(kept, voices, config.shard)
    spent = time.process_time() - began
    print(
        f"held        {len(items)} items, {len(plans)} files: "
        f"peak {memory():.2f} GiB, {base:.2f} before, {spent:.0f} s"
    )


def _copy(item: Item, n: int) -> Item:
    return replace(
        item,
        id=f"{item.id}~{n}",
        clip_id=f"{item.clip_id}~{n}",
        groups=tuple(f"{g}~{n}" for g in item.groups),
    )


def memory() -> float:
    """The most memory that this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(clips: list[Clip], items: tuple[Item, ...], lost: Counter[str], spent: float) -> None:
    """One line each: cost, what fell out, balance."""
    print(f"items       {len(items)} about {len(clips)} clips, quarantined {dict(lost)}")
    print(f"seconds     {spent:.1f} on one core, {1000 * spent / max(1, len(items)):.2f} ms an item")
    for size in sorted({len(i.choices) for i in items} - {0}):
        at = Counter(i.answer_index for i in items if len(i.choices) == size)
        shares = ", ".join(f"{at[n] / at.total():.2%}" for n in range(size))
        print(f"{size} choices   {at.total()} items, answers at {shares}")
    offered = [i for i in items if "None of these" in i.choices]
    right = sum(i.answer == "None of these" for i in items)
    open_ended = sum(not i.choices for i in items)
    print(f"none        offered in {len(offered)} items, right in {right}; open-ended {open_ended}")
    print(f"subsets     {dict(Counter(name for i in items for name in i.subsets))}")
    print(f"templates   {dict(Counter(i.template for i in items).most_common())}")


if __name__ == "__main__":
    main()
