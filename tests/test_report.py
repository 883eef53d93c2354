"""The report: its parts, its files, and what a reader does with it in a real Chromium."""

import json
import os
import re
import shutil
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from compose import composed
from conftest import paqa
from report import made, small

from paqa.dataset import shards
from paqa.errors import PaqaError
from paqa.perception import engine_runs, scenes
from paqa.rationale import grammar
from paqa.report import cite
from paqa.report.collect import open_build
from paqa.report.overview import histogram
from paqa.report.write import compared, script, write
from paqa.storage.build_folder import AUDIT
from paqa.storage.store import Store
from paqa.types import Event, Quarantined, Scene, Turn, Word

HOSTILE = '<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">&amp;'


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished build without engines; in one clip somebody says HOSTILE, and its licence and source say it
    too.
    """
    folder = tmp_path_factory.mktemp("report")
    config = replace(small(40), description=HOSTILE)
    store = Store(folder / "store")
    clips = [
        replace(clip, source=HOSTILE) if i == 1 else clip for i, clip in enumerate(composed(config, store))
    ]
    turns = clips[1].truth.turns
    hostile_turns = (replace(turns[0], text=HOSTILE), *turns[1:])
    clips[1] = replace(clips[1], license=HOSTILE, truth=replace(clips[1].truth, turns=hostile_turns))
    made(config, folder / "build", store, clips)
    return folder / "build"


@pytest.fixture(scope="module")
def written(base):
    return write(base)


@pytest.fixture(scope="module")
def items(base):
    return [
        shards.item(row)
        for row in shards.rows(base, [f for f in shards.item_schema(16000).names if f != "audio"])
    ]


def value(path):
    """What a data file hands over, as JSON."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("paqa.take(")
    assert text.endswith(");\n")
    return json.loads(f"[{text[10:-3]}]")[2]


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


SCENE = Scene(
    "c", 10_000, (Turn(1210, 3390, 1, "Hi."), Turn(3800, 6120, 2, "Yes.")), (Word(1210, 1500, "Hi."),),
    (Event(700, 2250, "Dog", "/m/0bt9lr"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("heard at 1.2-3.4 s.", ["heard at ", ("1.2-3.4 s", 1210, 3390), "."]),
        ("At 0.7 s a dog", [("At 0.7 s", 700, 2250), " a dog"]),
        ("until 6.1 s;", [("until 6.1 s", 3800, 6120), ";"]),
        ("at 5.0 s nothing", [("at 5.0 s", 5000, 6500), " nothing"]),
        ("From 1.2 s to 6.1 s", [("From 1.2 s to 6.1 s", 1210, 6120)]),
        ("between 1.2 and 6.1 s", [("between 1.2 and 6.1 s", 1210, 6120)]),
        ("which makes 1.3 s; about 12.5 s in all", ["which makes 1.3 s; about 12.5 s in all"]),
        ("at 99.0-99.5 s", ["at 99.0-99.5 s"]),
        ("", []),
    ],
)
def test_times_in_prose_lead_to_spans_of_the_scene(text, parts):
    assert cite.prose(text, SCENE) == parts


def test_sections_say_what_the_rationale_says(items):
    cited = 0
    for item in items:
        trace = grammar.parse(item.rationale, letters=bool(item.choices))
        by_tag = {s["tag"]: s for s in cite.sections(item)}
        for tag, text in [
            ("PLANNING", trace.planning),
            ("REASONING", trace.reasoning),
            ("REFLECT", trace.reflect),
        ]:
            assert (
                "".join(p if isinstance(p, str) else p[0] for p in by_tag[tag]["parts"]) if text else None
            ) == text
        stated = [(line["label"], *line["span"]) for line in by_tag["ENV"]["lines"]]
        in_scene = [(e.label, e.start_ms, e.end_ms) for e in item.scene.events]
        assert (stated == in_scene) == ("ENV" not in item.mistaken)
        assert by_tag["RESPONSE"]["index"] == trace.response.index
        assert ("FINAL_ANSWER" in by_tag) == item.reflected
        spans = [p[1:] for s in by_tag.values() for p in s.get("parts", ()) if not isinstance(p, str)]
        assert all(0 <= start < end for start, end in spans)
        cited += len(spans)
    assert cited > len(items)


def test_every_time_in_the_prose_of_a_build_is_found(items):
    """No form of words that cites a span is overlooked."""
    for item in items:
        parts = [p for s in cite.sections(item) for p in s.get("parts", ()) if isinstance(p, str)]
        left = [text for text in parts if re.search(r"\d+\.\d+-\d+\.\d+ s|\bat \d+\.\d+ s|until \d", text)]
        assert not left, (item.id, left)


def test_a_rationale_of_another_maker_is_shown_as_it_is(items):
    row = replace(items[0], rationale="Well, at 0.5-1.0 s I hear it.")
    (part,) = cite.sections(row)
    assert part["tag"] == "RATIONALE"
    assert part["parts"][1][0] == "0.5-1.0 s"


def test_evidence_has_the_spans_of_the_scene(items):
    row = next(i for i in items if any(e.kind == "turn" for e in i.evidence))
    turn = next(e for e in row.evidence if e.kind == "turn")
    spoken = row.scene.turns[turn.index]
    assert ["turn", turn.index, spoken.start_ms, spoken.end_ms] in cite.evidence(row)


def test_a_script_cannot_be_left():
    text = f"</script>{HOSTILE}\u2028\u2029"
    data = script("chunk", text, [text])
    assert b"<" not in data
    assert "\u2028" not in data.decode()
    assert json.loads(f"[{data.decode()[10:-3]}]") == ["chunk", text, [text]]


@pytest.mark.parametrize(
    "values", [[0.0], [1.0] * 5, [0.0, 0.05, 0.1, 0.3], list(range(1000)), [-3.2, 20.0, 7.7]]
)
def test_a_histogram_counts_every_value(values):
    for step in (None, 0.05):
        bins = histogram(values, step)
        assert sum(bins["counts"]) == len(values)
        assert bins["from"] <= min(values)
        assert bins["from"] + bins["step"] * len(bins["counts"]) > max(values)
    assert len(histogram(values)["counts"]) <= 26


def test_transcripts_are_compared_word_by_word():
    assert compared("The old Dog barks.", "the cold dog barks loudly") == [
        ["equal", "The", "the"], ["replace", "old", "cold"], ["equal", "Dog barks.", "dog barks"],
        ["insert", "", "loudly"],
    ]  # fmt: skip


def test_the_index_lists_every_row(written, items):
    index = value(written.page.parent / "data" / "index.js")
    own, terms = index["items"], index["terms"]
    by_id = {item.id: item for item in items}
    assert sorted(own["id"]) == sorted(by_id)
    for n, name in enumerate(own["id"]):
        item, clip = by_id[name], own["clip"][n]
        assert index["clips"]["id"][clip] == item.clip_id
        assert own["question"][n] == item.question
        assert terms["template"][own["template"][n]] == item.template
        assert [terms["subset"][s] for s in own["subsets"][n]] == list(item.subsets)
        assert index["clips"]["said"][clip] == item.scene.transcript
        assert own["answer"][n] == (item.answer if item.answer_index is None else item.answer_index)
        assert (written.page.parent / "media" / f"{index['clips']['media'][clip]}.js").exists()


def test_truth_and_hearing_are_those_of_the_build(base, written, items):
    build = open_build(base)
    index = value(written.page.parent / "data" / "index.js")
    for n, name in enumerate(index["clips"]["id"]):
        clip = value(written.page.parent / "data" / f"chunk-{n // index['chunk']:05d}.js")[n % index["chunk"]]
        scene = build.items[name][0].scene
        assert clip["answers"] == "truth"
        assert [t[:4] for t in clip["truth"]["turns"]] == [
            [t.start_ms, t.end_ms, t.speaker, t.text] for t in scene.turns
        ]
        assert len(clip["heard"]["words"]) == len(build.prediction(name).words)


def test_the_same_build_gives_the_same_bytes(base, written, tmp_path):
    first = files(written.page.parent)
    assert files(write(base, tmp_path / "again").page.parent) == first
    (tmp_path / "again" / "data" / "chunk-09999.js").write_text("old")
    (tmp_path / "again" / "media" / "0.js").write_text("old")
    assert files(write(base, tmp_path / "again").page.parent) == first


def test_the_overview_counts_what_the_rows_say(written, items):
    page = value(written.page.parent / "data" / "overview.js")
    assert sum(sum(counts) for _, counts in page["tasks"]) == len(items)
    assert sum(sum(group["at"]) for group in page["answers"]) == len(items)
    assert sum(page["difficulty"]["counts"]) == len(items)
    assert page["facts"][0][0] == str(len(items))
    assert HOSTILE in [name for name, _ in page["licenses"]]


def test_without_a_store_the_mix_is_played_and_the_page_says_so(base, tmp_path):
    done = write(base, tmp_path / "out", store=str(tmp_path / "nowhere"))
    assert done.stems == 0
    assert "--store" in done.notes[0]
    sound = value(next((tmp_path / "out" / "media").glob("*.js")))
    assert sound["speech"] is None
    assert value(tmp_path / "out" / "data" / "chunk-00000.js")[0]["heard"] is None


def test_shards_alone_are_enough(base, tmp_path):
    shutil.copytree(base / "data", tmp_path / "bare" / "data")
    done = write(tmp_path / "bare")
    assert done.items > 0
    assert done.stems == 0
    assert "Only the shards are here" in done.notes[0]


def test_a_report_names_no_folder_of_this_machine(base, tmp_path):
    folder = tmp_path / "my build"
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("report"))
    done = json.loads((folder / "build.json").read_bytes())
    message = f"look with: paqa shortcuts {folder}; then mend '/home/somebody/a b.toml' or ~/x/y."
    (folder / "build.json").write_text(json.dumps(done | {"warnings": [message], "out": str(folder)}))
    lost = Quarantined("a.wav", "decode", "broken_audio", f"{folder}/sub/a.wav: not at 1/2 of it", "0" * 64)
    shards.write_table(folder / "quarantine.parquet", Quarantined, [lost])
    text = (write(folder, tmp_path / "out").page.parent / "data" / "overview.js").read_text()
    assert "look with: paqa shortcuts my build; then mend" in text
    assert "a.wav: not at 1/2 of it" in text
    assert not [path for path in (str(tmp_path), str(base), "/home", "~/") if path in text]


def test_no_stem_is_decoded_for_levels_that_the_store_has(base, written, tmp_path, monkeypatch):
    def decoded(*_):
        raise AssertionError("decoded a stem")

    monkeypatch.setattr(engine_runs, "stem", decoded)
    done = write(base, tmp_path / "out")
    assert files(done.page.parent) == files(written.page.parent)
    monkeypatch.setattr(scenes, "SNR", -1)  # a version whose levels the store does not have
    with pytest.raises(AssertionError, match="decoded a stem"):
        write(base, tmp_path / "other")


def test_a_lost_stem_is_counted(base, tmp_path):
    build = open_build(base)
    clip = build.clips[next(iter(build.items))]
    shutil.copytree(build.store.url, tmp_path / "store")
    lost = engine_runs.output_key(clip, build.separation, build.separation)
    os.unlink(Store(tmp_path / "store")._path(lost, ".flac"))
    done = write(base, tmp_path / "out", store=str(tmp_path / "store"))
    assert done.stems == done.clips - 1
    assert f"lacks the stems of 1 of {done.clips} clips" in done.notes[0]


def test_some_clips_can_be_drawn(base, tmp_path, written):
    done = write(base, tmp_path / "out", clips=2)
    assert done.clips == 2
    assert f"2 of {written.clips} clips" in done.notes[0]
    assert len(list((tmp_path / "out" / "media").glob("*.js"))) == 2
    everything = value(written.page.parent / "data" / "overview.js")["facts"]
    assert value(tmp_path / "out" / "data" / "overview.js")["facts"] == everything


def test_a_folder_of_somebody_else_is_left_alone(base, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PaqaError, match="is not empty and holds no report"):
        write(base, tmp_path)


def test_damaged_figures_are_named(base, tmp_path):
    shutil.copytree(base, tmp_path / "build", ignore=shutil.ignore_patterns("report"))
    (tmp_path / "build" / AUDIT).write_text('{"slices": [{"by": 1}]}')
    with pytest.raises(PaqaError, match=re.escape(AUDIT)):
        write(tmp_path / "build")


def test_the_command_says_where_the_page_is(base, tmp_path):
    done = paqa("report", base, "--out", tmp_path / "out")
    assert str(tmp_path / "out" / "index.html") in done.stdout
    assert "questions about" in done.stdout
    failed = paqa("report", tmp_path, check=False)
    assert failed.returncode == 2
    assert "no shards" in failed.stderr
    assert paqa("report", base, "--clips", 0, check=False).returncode == 2


# What a reader does with it


@pytest.fixture
def visit(browser, written):
    """Opens an address of the report; nothing may be logged as an error, and nothing asked of a network."""
    contexts, wrong = [], []

    def go(address="#/", page=written.page, size=(1280, 860), **options):
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, **options))
        tab = contexts[-1].new_page()
        tab.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda e: wrong.append(str(e)))
        tab.on(
            "request",
            lambda r: wrong.append(r.url) if not r.url.startswith(("file:", "blob:", "data:")) else None,
        )
        tab.goto(page.as_uri() + address)
        until(tab, "performance.getEntriesByName('paqa-shown').length")
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not wrong


def until(tab, expression, seconds=10):
    """Wait for something to be true of the page; its own policy forbids playwright's waiting in the page."""
    give_up = time.monotonic() + seconds
    while not tab.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < give_up, expression
        tab.wait_for_timeout(20)


def an_item(items, **wanted):
    return next(
        i for i in items if all(getattr(i, k) == v for k, v in wanted.items()) and len(i.scene.turns) > 1
    )


def item_page(visit, item, **options):
    tab = visit(f"#/item/{item.id}", **options)
    tab.wait_for_selector(".timeline")
    return tab


def clock(tab):
    return 1000 * tab.evaluate("document.querySelector('audio').currentTime")


def paused(tab):
    return tab.evaluate("document.querySelector('audio').paused")


def test_the_overview_opens_from_disk(visit, written, items):
    tab = visit()
    assert tab.locator(".fact b").first.inner_text() == str(len(items))
    assert tab.get_by_role("heading", name="Answer balance").is_visible()
    assert tab.locator("svg .column").count() > 5
    tab.locator("a.bar").first.click()  # the most frequent task
    tab.wait_for_selector(".row")
    n = max(Counter(i.task for i in items).values())
    assert tab.locator(".size").inner_text().startswith(f"{n} of ")
    assert sum(i.task == tab.locator("#by-task").input_value() for i in items) == n


def searched(item):
    """All of an item that a search looks at."""
    labels = (e.label for e in item.scene.events)
    return "\n".join([item.id, item.question, *item.choices, item.answer, item.scene.transcript, *labels])


def test_filters_and_search_find_what_the_rows_say(visit, items):
    tab = visit("#/items")

    def shown():
        return int(tab.locator(".size").inner_text().split()[0])

    assert shown() == len(items)
    tab.select_option("#by-split", "test")
    assert shown() == sum(i.split == "test" for i in items)
    tab.select_option("#by-reflected", "yes")
    assert shown() == sum(i.split == "test" and i.reflected for i in items)
    tab.get_by_role("button", name="Clear all").click()
    tab.select_option("#by-speakers", "2")
    assert shown() == sum(i.scene.speakers == 2 for i in items)
    tab.select_option("#by-speakers", "")
    label = next(e.label for i in items for e in i.scene.events)
    tab.select_option("#by-event", label)
    assert shown() == sum(label in {e.label for e in i.scene.events} for i in items)
    tab.select_option("#by-event", "")
    tab.fill("#difficulty-from", "0.3")
    tab.keyboard.press("Tab")
    assert shown() == sum(i.difficulty >= 0.3 for i in items)
    tab.goto(tab.url.split("#")[0] + "#/items?q=speaker")
    texts = map(searched, items)
    until(tab, "document.querySelector('.size').innerText.includes(' of ')")
    assert shown() == sum("speaker" in text.lower() for text in texts)
    tab.fill("#search", "no such thing anywhere")
    assert tab.get_by_text("Nothing matches").is_visible()


def test_a_citation_plays_its_span(visit, items):
    tab = item_page(visit, an_item(items, reflected=True))
    link = tab.locator(".reflect .cite").last
    start, end = (int(link.get_attribute(f"data-{side}")) for side in ("from", "to"))
    link.click()
    tab.wait_for_timeout(150)
    assert start <= clock(tab) < end
    assert not paused(tab)
    assert tab.locator(".region").is_visible()
    until(tab, "document.querySelector('audio').paused", (end - start) / 1000 + 5)
    assert end <= clock(tab) < end + 120


def test_all_lanes_share_one_axis(visit, items):
    """A block, the region that it plays and the cursor lie at the same place, at any zoom."""
    tab = item_page(visit, an_item(items))
    for _ in range(3):
        block = tab.locator(".block.turn").nth(1)
        block.click()
        tab.wait_for_timeout(80)
        tab.keyboard.press(" ")
        tab.wait_for_timeout(150)  # the cursor of a paused clip is drawn a frame later
        box, region, track = (
            tab.locator(s).first.bounding_box() for s in (".block.turn >> nth=1", ".region", ".marks")
        )
        picture = tab.locator(".picture").last.bounding_box()
        assert abs(box["x"] - region["x"]) < 1.5
        assert abs(box["width"] - region["width"]) < 2.5
        assert abs(picture["x"] - track["x"]) < 1
        assert abs(picture["width"] - track["width"]) < 1
        assert paused(tab)
        total = tab.evaluate("document.querySelector('audio').duration")
        cursor = tab.locator(".cursor").bounding_box()
        assert abs(cursor["x"] + 0.75 - track["x"] - track["width"] * clock(tab) / 1000 / total) < 2.5
        tab.keyboard.press("+")


def test_stems_switch_where_the_clip_is(visit, items):
    tab = item_page(visit, an_item(items))
    tab.locator(".pictures canvas").first.click(position={"x": 300, "y": 20})
    at = clock(tab)
    assert at > 500
    sources = set()
    for n, name in enumerate(("mix", "speech", "background")):
        tab.keyboard.press(str(n + 1))
        assert tab.locator(f".seg[data-stem={name}]").get_attribute("aria-pressed") == "true"
        tab.wait_for_timeout(100)
        assert abs(clock(tab) - at) < 5
        sources.add(tab.evaluate("document.querySelector('audio').src"))
    assert len(sources) == 3


def test_stems_are_those_of_the_store(visit, base, written, items):
    build = open_build(base)
    index = value(written.page.parent / "data" / "index.js")
    tab = visit()
    for n in (0, 1):
        clip = build.clips[index["clips"]["id"][n]]
        for name in ("mix", "speech", "background"):
            size, found = tab.evaluate(
                "async ([file, stem]) => {"
                " const all = (await sound.stems(await paqa.media(file)))[stem].channels[0];"
                " return [all.length, Array.from(all.filter((_, i) => i % 31 === 0))]; }",
                [index["clips"]["media"][n], name],
            )
            expected = engine_runs.stem(clip, name, build.separation, build.store).samples[0]
            assert size == len(expected)
            # Chromium scales positive samples by 1/32767: one step of 16 bits
            assert np.max(np.abs(np.asarray(found) - expected[::31])) <= 1 / 32768


def test_the_spectrogram_shows_a_tone_at_its_height(visit):
    tab = visit()
    peak = """hz => {
        const rate = 16000, wave = (_, i) => 0.5 * Math.sin(2 * Math.PI * hz * i / rate);
        const samples = Float32Array.from({length: rate}, wave), at = 10 * sound.BANDS;
        const found = sound.spectrogram({rate, channels: [samples]}, 20);
        const column = Array.from(found.values.slice(at, at + sound.BANDS));
        return [column.indexOf(Math.max(...column)) / sound.BANDS, sound.height(hz, rate)];
    }"""
    for hz in (200, 440, 1000, 3000, 7000):
        band, height = tab.evaluate(peak, hz)
        assert abs(band - height) < 0.03, hz


def test_a_voice_has_one_colour_in_truth_and_hearing(visit):
    truth = {"turns": [[0, 2000, 1], [2000, 4000, 2], [4000, 6000, 3]]}
    heard = {"turns": [[100, 400, 1], [500, 1900, 2], [2100, 3900, 1], [7000, 8000, 3]]}
    script = "([a, b]) => [1, 2, 3].map(n => timeline.matched(a, b)(n))"
    assert visit().evaluate(script, [heard, truth]) == ["var(--voice-2)", "var(--voice-1)", "var(--voice-4)"]


def test_keys_do_everything(visit, items):
    tab = visit("#/items")
    tab.keyboard.press("/")
    assert tab.evaluate("document.activeElement.id") == "search"
    tab.keyboard.type("speaker")
    assert " of " in tab.locator(".size").inner_text()
    tab.keyboard.press("Escape")
    tab.keyboard.press("j")
    tab.keyboard.press("j")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".timeline")
    first = tab.url
    assert "2 of " in tab.locator(".crumbs").inner_text()
    tab.keyboard.press(" ")
    until(tab, "!document.querySelector('audio').paused")
    tab.keyboard.press(" ")
    assert paused(tab)
    at = clock(tab)
    tab.keyboard.press("ArrowRight")
    assert abs(clock(tab) - at - 1000) < 60
    tab.keyboard.press("e")
    until(tab, "!document.querySelector('audio').paused")
    tab.keyboard.press("j")
    until(tab, f"location.href !== {first!r}")
    until(tab, "document.querySelector('.crumbs').innerText.includes('3 of ')")
    tab.keyboard.press("?")
    assert tab.locator("dialog").is_visible()
    tab.keyboard.press("Escape")
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".row")
    assert tab.locator("#search").input_value() == "speaker"


def test_whoever_hurries_sees_where_they_are(visit, items):
    """A page that takes longer does not replace the one that was asked for after it."""
    last = items[0]
    slow = [i for i in items if i.clip_id != last.clip_id]
    tab = item_page(visit, last)
    tab.goto(tab.url.split("#")[0] + "#/items")
    tab.wait_for_selector(".row")
    one_after_another = """async ids => {
        for (const id of ids) {
            location.hash = '#/item/' + encodeURIComponent(id);
            await new Promise(done => addEventListener('hashchange', done, {once: true}));
        }
    }"""
    tab.evaluate(
        one_after_another, [slow[0].id, slow[-1].id, last.id]
    )  # the last one's sound is loaded already
    tab.wait_for_selector(".timeline")
    tab.wait_for_timeout(1000)
    assert tab.locator(".meta").inner_text().find(last.id) > 0
    assert tab.locator("audio").count() == 1
    tab.keyboard.press(" ")
    until(tab, "document.querySelector('audio').currentTime > 0.1")


def test_light_and_dark(visit, items):
    def ground(tab):
        return sum(
            map(int, re.findall(r"\d+", tab.evaluate("getComputedStyle(document.body).backgroundColor"))[:3])
        )

    assert ground(visit(color_scheme="light")) > 600
    tab = item_page(visit, items[0], color_scheme="dark")
    assert ground(tab) < 150
    tab.keyboard.press("t")
    assert ground(tab) > 600
    tab.reload()
    tab.wait_for_selector(".timeline")
    assert ground(tab) > 600


@pytest.mark.parametrize("address", ["#/", "#/items", "item"])
def test_a_phone_shows_it_all(visit, items, address):
    options = {"size": (360, 740), "has_touch": True, "is_mobile": True}
    tab = item_page(visit, an_item(items), **options) if address == "item" else visit(address, **options)
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    if address == "item":
        tab.locator(".go").tap()
        until(tab, "document.querySelector('audio').currentTime > 0.2")
    if address == "#/items":
        tab.locator(".filters > summary").tap()
        assert tab.locator("#by-task").is_visible()


def test_what_somebody_says_is_never_run(visit, items):
    item = next(i for i in items if HOSTILE in i.scene.transcript)
    tab = visit()
    assert HOSTILE in tab.locator(".lead").inner_text()
    tab.goto(tab.url.split("#")[0] + f"#/items?q={item.id}")
    tab.wait_for_selector(".row")
    tab.goto(tab.url.split("#")[0] + f"#/item/{item.id}")
    tab.wait_for_selector(".timeline")
    assert HOSTILE in tab.locator(".part.speaker").inner_text()
    assert HOSTILE in tab.locator(".meta").inner_text()
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("main script, main img").count() == 0


def test_without_stems_the_page_says_so(visit, base, items, tmp_path):
    done = write(base, tmp_path / "out", store=str(tmp_path / "nowhere"))
    tab = item_page(visit, an_item(items), page=done.page)
    assert tab.get_by_text("Only the mix can be played").is_visible()
    assert tab.locator(".seg[data-stem=speech]").is_disabled()
    tab.keyboard.press("2")
    assert tab.locator(".seg[data-stem=mix]").get_attribute("aria-pressed") == "true"


def test_a_missing_file_is_named(browser, base, items, tmp_path):
    done = write(base, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "media")
    tab = browser.new_page()
    tab.goto(f"{done.page.as_uri()}#/item/{items[0].id}")
    tab.get_by_text("is missing or damaged; write the report again").wait_for()
    tab.close()
