"""What is wrong with a build that can be seen before anything is started: no server, no worker, no engine.

The same errors as the build itself raises, which looks again at all of it: a file may be gone by then.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from paqa.config.recipe import Recipe, SourceConfig
from paqa.curation import contamination
from paqa.curation.chat_client import check_endpoint
from paqa.licensing import compatibility
from paqa.pipeline import growth, ingest, quality_stage, review
from paqa.sources import registry
from paqa.storage import build_folder
from paqa.types import Recording

REMOTE = {"hub"}  # types of sources whose first row may take a download


def check(recipe: Recipe, out: Path, growing: bool = False) -> None:
    """PaqaError for an output folder, an earlier build, a source, benchmark or verdicts that are of no use.

    Cheap: of a source rows are read up to the first recording that may be used, of an earlier build no row.
    """
    build_folder.check_contents(out)
    quality_stage.check(recipe)
    check_endpoint(recipe.verifier)
    if growing:
        growth.check(out, recipe)
    for source in recipe.sources:
        if source.type not in REMOTE:
            _check_source(source, recipe)
    folder = Path(recipe.folder)
    for benchmark in recipe.gates.benchmarks:
        contamination.recordings(benchmark, folder)
        contamination.questions(benchmark, folder)
    if recipe.review.verdicts:
        from paqa.review import verdicts

        verdicts.load(review.paths(recipe))


def _check_source(source: SourceConfig, recipe: Recipe) -> None:
    """PaqaError where a source cannot be read, or the recipe's licence permits none of its recordings."""
    refused = False
    for row in registry.recordings(replace(source, limit=None), Path(recipe.folder)):
        if not isinstance(row, Recording):
            continue
        if recipe.license is None or not compatibility.refusal(row.license, recipe.license):
            return
        refused = True
    if refused:
        ingest.gather(replace(recipe, sources=(source,)))  # which says what is refused, and why
