"""How fast a report is written, opens and filters: `python benchmarks/report.py`, in the Chromium of this
machine.

The build is composed as in `compose.py`, no engine involved, and written as shards with a store beside them.
Opening is from the start of navigation to the overview on the page, and to the index of all questions loaded;
filtering is from the change to the next frame painted, list and counts of all facets included. Every figure
is the worst of some tries.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from compose import composed, listen
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from paqa.config.recipe import Recipe
from paqa.dataset import finish_build, shards
from paqa.pipeline import recipe_files, worker_steps
from paqa.pipeline.rows import compose
from paqa.storage import build_folder
from paqa.storage.store import Store
from paqa.types import Clip

ROOT = Path(__file__).parents[1]
TRIES = 5
SCREEN: ViewportSize = {"width": 1360, "height": 900}
TYPED = "the next train"
QUERIES = (
    "task=sounds",
    "speakers=3",
    "split=test&reflected=yes",
    "event=Dog",
    "from=0.30&to=0.50",
    "sort=hardest",
    "q=the",
    "q=train%20station",
    "q=speaker&task=dialogue&speakers=4&sort=longest",
    "",
)
PAINTED = "const painted = then => requestAnimationFrame(() => setTimeout(then));"
SETTLE = f"""query => new Promise(resolve => {{
    {PAINTED}
    const began = performance.now();
    addEventListener('hashchange', () => painted(() => resolve(performance.now() - began)), {{once: true}});
    location.hash = '#/items?' + query;
}})"""
TYPE = f"""text => new Promise(resolve => {{
    {PAINTED}
    const box = document.getElementById('search');
    const began = performance.now();
    box.value = text;
    box.dispatchEvent(new Event('input'));
    painted(() => resolve(performance.now() - began));
}})"""
OPEN = f"""() => new Promise(resolve => {{
    {PAINTED}
    const began = performance.now();
    const look = () => {{
        const picture = document.querySelector('.item .picture');
        if (picture && picture.width > 300) painted(() => resolve(performance.now() - began));
        else requestAnimationFrame(look);
    }};
    document.querySelectorAll('.row')[7].click();
    look();
}})"""
MARK = "name => performance.getEntriesByName(name)[0].startTime"


def small(items: int) -> Recipe:
    """The demo's recipe with as many scenes as it takes for so many items."""
    base = recipe_files.load(ROOT / "manifests" / "demo.toml")
    scenes = max(4, -(-items // 7))
    mixes = (replace(base.mix[0], scenes=scenes * 3 // 4), replace(base.mix[2], scenes=scenes // 4))
    return replace(base, mix=mixes)


def made(config: Recipe, out: Path, store: Store, clips: list[Clip]) -> int:
    """Write a finished build of composed clips that engines heard perfectly; returns its number of items."""
    for clip in clips:
        listen(clip, config, store)
    done = compose(clips, config, store)
    data = build_folder.begin(out) / build_folder.DATA
    plans = shards.plan(done.items, clips, config.shard)
    target = worker_steps.ShardTarget(data, data)
    written = {
        plan.name: worker_steps.write_shard(plan, done.row_keys, target, None, config, store)
        for plan in plans
    }
    contents = finish_build.Contents(clips, done.items, done.quarantined, (), written)
    finish_build.finish(config, out, store.url, contents)
    return len(done.items)


def opened(browser: Browser, page: str) -> tuple[float, float]:
    """Milliseconds from the start of navigation to the overview, and to the index, in a browser that knows
    nothing.
    """
    context = browser.new_context(viewport=SCREEN)
    tab = context.new_page()
    tab.goto(page)
    tab.wait_for_function("performance.getEntriesByName('paqa-ready').length")
    shown, ready = (float(tab.evaluate(MARK, name)) for name in ("paqa-shown", "paqa-ready"))
    context.close()
    return shown, ready


def filtered(tab: Page, query: str) -> float:
    """The slowest of some changes from the second page of everything to what the query finds, in ms."""
    spent = []
    for _ in range(TRIES):
        tab.evaluate(SETTLE, "page=2")
        spent.append(float(tab.evaluate(SETTLE, query)))
    return max(spent)


def measure(page: str) -> None:
    """Print what a reader waits for."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown, ready = map(max, zip(*(opened(browser, page) for _ in range(TRIES)), strict=True))
        print(f"open        {shown:.0f} ms to the overview, {ready:.0f} ms to the index of all questions")
        tab = browser.new_page(viewport=SCREEN)
        tab.goto(f"{page}#/items")
        tab.wait_for_selector(".row")
        first = tab.evaluate(TYPE, "t")
        spent = {query: filtered(tab, query) for query in QUERIES}
        slowest = max(spent, key=lambda query: spent[query])
        usual = statistics.median(spent.values())
        print(f"filter      {usual:.0f} ms, at most {spent[slowest]:.0f} ms (?{slowest})")
        tab.evaluate(SETTLE, "page=2")
        typed = [float(tab.evaluate(TYPE, TYPED[:n])) for n in range(1, len(TYPED) + 1)]
        middle, most = statistics.median(typed), max(typed)
        print(f"search      {first:.0f} ms the first letter, then {middle:.0f} ms, at most {most:.0f} ms")
        tab.evaluate(SETTLE, "page=1")
        print(f"one item    {tab.evaluate(OPEN):.0f} ms from the click to waveform and spectrogram")
        print(f"heap        {tab.evaluate('performance.memory.usedJSHeapSize / 1e6'):.0f} MB of JavaScript")
        browser.close()


def main() -> None:
    """Compose, write, open, filter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--build", type=Path, help="measure this build instead of composing one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = args.build or Path(folder) / "build"
        if not args.build:
            config, store = small(args.items), Store(Path(folder) / "store")
            made(config, out, store, composed(config, store))
        page = written(out, Path(folder) / "report")
        measure(page.as_uri())


def written(build_folder: Path, folder: Path) -> Path:
    """Write the report by its command; prints what it took. Returns the page."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "paqa", "report", str(build_folder), "--out", str(folder)]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    spent = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
    print(next(line for line in said.splitlines() if line.startswith("holds")))
    print(f"written     in {spent:.1f} s, {peak:.0f} MB of memory at most")
    return folder / "index.html"


if __name__ == "__main__":
    main()
