"""Judging rows in a report, in a real Chromium: keys, what the browser keeps, the file, going on with it."""

import json
from dataclasses import fields, replace

import msgspec
import pytest
from builds import make
from test_report import files, until, value

from paqa.curation.verifier import VerifiedRow
from paqa.dataset import shards, verifier_table
from paqa.report.write import write
from paqa.review import measure, verdicts
from paqa.review.sample import draw
from paqa.types import Item


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A build without engines."""
    folder = tmp_path_factory.mktemp("review") / "build"
    make(folder, clips=9)
    return folder


@pytest.fixture(scope="module")
def written(base):
    """A report of 12 drawn rows."""
    return write(base, sample=(12, 0))


@pytest.fixture(scope="module")
def index(written):
    return value(written.page.parent / "data" / "index.js")


@pytest.fixture
def visit(browser, written):
    """Opens an address of the report as a browser without a memory; nothing may be logged as an error."""
    contexts, wrong = [], []

    def go(address="", page=written.page, size=(1280, 860)):
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}))
        tab = contexts[-1].new_page()
        tab.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda e: wrong.append(str(e)))
        tab.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
        tab.goto(page.as_uri() + address)
        until(tab, "performance.getEntriesByName('paqa-ready').length")
        return tab

    yield go
    for context in contexts:
        context.close()
    assert not wrong


def row_page(visit, name, **options):
    tab = visit(f"#/item/{name}", **options)
    tab.wait_for_selector(".timeline")
    if "page" not in options:
        tab.wait_for_selector(".judge")
    return tab


def turn_to(tab, key, name):
    """Press a key that leads to the page of another row."""
    tab.keyboard.press(key)
    until(tab, f"document.querySelector('.meta')?.innerText.includes({json.dumps(name)})")


def saved(tab, path):
    with tab.expect_download() as download:
        tab.keyboard.press("s")
    download.value.save_as(path)
    return path


def load(tab, path):
    with tab.expect_file_chooser() as chooser:
        tab.get_by_role("button", name="Import").click()
    tab.locator(".message").evaluate("node => { node.textContent = ''; }")  # of what was done before
    chooser.value.set_files(path)
    until(tab, "document.querySelector('.message').textContent")
    return tab.locator(".message").inner_text()


def progress(tab):
    return tab.locator(".count").inner_text()


def pressed(tab):
    return tab.locator(".judge [aria-pressed=true]").evaluate_all(
        "nodes => nodes.map((n) => n.dataset.verdict ?? n.dataset.part)"
    )


def test_a_review_has_the_drawn_rows_alone(base, written, index):
    build_rows = {row["id"]: row for row in shards.rows(base, ["id", "key", "clip_id"])}
    assert sorted(index["items"]["id"]) != sorted(build_rows)
    assert written.page.parent == base / "review"
    assert written.items == len(index["items"]["id"]) == 12
    assert f"12 of {len(build_rows)} questions were drawn" in " ".join(written.notes)
    columns = index["review"]
    assert columns["key"] == [build_rows[name]["key"] for name in index["items"]["id"]]
    assert sum(columns["weight"]) == len(build_rows)
    clips = value(written.page.parent / "data" / "chunk-00000.js")
    assert [row["id"] for clip in clips for row in clip["items"]] == index["items"]["id"]


def test_keys_judge_and_the_file_holds_it(visit, base, index, tmp_path):
    first, second, third, fourth = index["items"]["id"][:4]
    tab = row_page(visit, first)
    assert tab.locator(".hint").is_visible()
    assert progress(tab) == "0 of 12 judged"
    for key in ("w", "4", "6", "n"):
        tab.keyboard.press(key)
    tab.keyboard.type("Two dogs: r w u.")
    tab.keyboard.press("Enter")
    assert pressed(tab) == ["wrong", "answer", "rationale"]
    turn_to(tab, "j", second)
    assert pressed(tab) == []
    assert tab.locator(".remark").input_value() == ""
    tab.keyboard.press("r")
    turn_to(tab, "g", third)
    tab.keyboard.press("u")
    turn_to(tab, "j", fourth)
    tab.keyboard.press("r")
    tab.keyboard.press("r")  # takes it back
    assert progress(tab) == "3 of 12 judged"
    tab.keyboard.press(" ")
    until(tab, "!document.querySelector('audio').paused")
    tab.keyboard.press("s")
    assert "Your name first" in tab.locator(".message").inner_text()
    tab.keyboard.type("Anna Ä")
    tab.keyboard.press("Enter")
    path = saved(tab, tmp_path / "anna.jsonl")
    lines = {v.id: v for v in verdicts.read(path)}
    assert {name: v.verdict for name, v in lines.items()} == {
        first: "wrong",
        second: "right",
        third: "unsure",
    }
    assert lines[first].parts == ("answer", "rationale")
    assert lines[first].note == "Two dogs: r w u."
    assert {v.reviewer for v in lines.values()} == {"Anna Ä"}
    assert {v.build for v in lines.values()} == {index["build"]}
    figures = measure.measure(base, [path])
    assert (figures.overall.rows, figures.overall.right, figures.unsure) == (2, 1, 1)
    assert figures.rejected == (first,)
    assert figures.stale == figures.missing == ()


def test_the_weights_of_the_sample_are_in_the_file(visit, base, index, tmp_path):
    tab = row_page(visit, index["items"]["id"][0])
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    for name in [*index["items"]["id"][1:], None]:
        tab.keyboard.press("r")
        if name:
            turn_to(tab, "g", name)
    tab.keyboard.press("g")
    assert "All are judged" in tab.locator(".message").inner_text()
    lines = verdicts.read(saved(tab, tmp_path / "anna.jsonl"))
    columns = [field.name for field in fields(Item)]
    drawn = draw([shards.item(row) for row in shards.rows(base, columns)], 12, 0)
    assert [(v.id, v.stratum, v.stratum_rows, v.weight) for v in lines] == [
        (d.id, d.stratum, d.stratum_rows, d.weight) for d in drawn
    ]
    figures = measure.measure(base, [tmp_path / "anna.jsonl"])
    assert figures.covered == figures.build_rows
    assert figures.overall.share == pytest.approx(1)


def test_a_reload_keeps_it_and_each_reviewer_has_their_own(visit, index):
    name = index["items"]["id"][0]
    tab = row_page(visit, name)
    tab.keyboard.press("r")
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    assert pressed(tab) == ["right"]  # what was judged without a name is hers
    tab.reload()
    tab.wait_for_selector(".judge")
    until(tab, "document.querySelector('.judge [aria-pressed=true]')")
    assert pressed(tab) == ["right"]
    assert tab.locator(".who").input_value() == "anna"
    tab.fill(".who", "bert")
    tab.keyboard.press("Enter")
    assert progress(tab) == "0 of 12 judged"
    tab.keyboard.press("w")
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    assert pressed(tab) == ["right"]
    tab.keyboard.press("Escape")
    tab.wait_for_selector(".row")
    assert tab.locator(".mark-right").count() == 1
    assert not tab.locator(".judge").is_visible()


def test_a_note_stays_with_its_row(visit, index):
    first, second = index["items"]["id"][:2]
    tab = row_page(visit, first)
    tab.keyboard.press("n")
    tab.keyboard.type("too quiet")
    tab.evaluate("location.hash = document.querySelector('a[rel=next]').hash")  # the note has the focus
    until(tab, f"document.querySelector('.meta')?.innerText.includes({second!r})")
    assert pressed(tab) == []
    assert tab.locator(".remark").input_value() == ""
    assert progress(tab) == "1 of 12 judged"
    turn_to(tab, "k", first)
    assert pressed(tab) == ["unsure"]
    assert tab.locator(".remark").input_value() == "too quiet"


def test_a_file_goes_on_where_it_was(visit, index, tmp_path):
    first, second = index["items"]["id"][:2]
    tab = row_page(visit, first)
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    tab.keyboard.press("r")
    turn_to(tab, "j", second)
    tab.keyboard.press("w")
    path = saved(tab, tmp_path / "anna.jsonl")
    lines = verdicts.read(path)
    other = replace(lines[0], reviewer="bert")
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in [*lines, other]))

    elsewhere = row_page(visit, first)
    elsewhere.fill(".who", "anna")
    elsewhere.keyboard.press("Enter")
    assert progress(elsewhere) == "0 of 12 judged"
    message = load(elsewhere, path)
    assert message == "2 verdicts added from anna.jsonl; 1 of bert left out."
    assert progress(elsewhere) == "2 of 12 judged"
    assert pressed(elsewhere) == ["right"]
    elsewhere.keyboard.press("u")  # later than the file
    assert load(elsewhere, path).startswith("0 verdicts added")
    assert pressed(elsewhere) == ["unsure"]
    assert {v.id for v in verdicts.read(saved(elsewhere, tmp_path / "again.jsonl"))} == {first, second}


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "x"}', '{"verdict": "good"}', '{"parts": "answer"}'])
def test_a_damaged_file_adds_nothing_and_names_the_line(visit, index, tmp_path, line):
    tab = row_page(visit, index["items"]["id"][0])
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    tab.keyboard.press("r")
    path = saved(tab, tmp_path / "anna.jsonl")
    good = json.loads(path.read_text())
    bad = json.dumps(good | json.loads(line)) if len(line) > 12 else line
    path.write_text(f"{json.dumps(good | {'id': index['items']['id'][1]})}\n\n{bad}\n")
    message = load(tab, path)
    assert message.startswith("anna.jsonl: line 3: found ")
    assert message.endswith("Nothing was added.")
    assert progress(tab) == "1 of 12 judged"


def test_a_row_that_has_changed_is_to_be_judged_again(visit, index, tmp_path):
    name = index["items"]["id"][0]
    tab = row_page(visit, name)
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    tab.keyboard.press("r")
    path = saved(tab, tmp_path / "anna.jsonl")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "0" * 64}) + "\n")
    elsewhere = row_page(visit, name)
    elsewhere.fill(".who", "anna")
    elsewhere.keyboard.press("Enter")
    load(elsewhere, path)
    assert progress(elsewhere) == "0 of 12 judged"
    assert pressed(elsewhere) == []
    elsewhere.keyboard.press("r")
    assert progress(elsewhere) == "1 of 12 judged"
    (line,) = verdicts.read(saved(elsewhere, tmp_path / "new.jsonl"))
    assert line.key == index["review"]["key"][0]


def test_any_report_can_be_reviewed_and_its_rows_are_no_sample(visit, base, index, tmp_path):
    done = write(base, tmp_path / "out")
    name = value(done.page.parent / "data" / "index.js")["items"]["id"][3]
    tab = row_page(visit, name, page=done.page)
    assert tab.locator(".review").count() == 0
    tab.keyboard.press("r")
    tab.keyboard.press("v")
    tab.wait_for_selector(".judge")
    assert pressed(tab) == []  # the key did nothing before
    tab.keyboard.press("w")
    tab.fill(".who", "anna")
    tab.keyboard.press("Enter")
    (line,) = verdicts.read(saved(tab, tmp_path / "anna.jsonl"))
    assert (line.id, line.sample, line.weight) == (name, "", 0)
    figures = measure.measure(base, [tmp_path / "anna.jsonl"])
    assert (figures.overall, figures.picked, figures.rejected) == (None, 1, (name,))
    tab.keyboard.press("v")
    assert tab.locator(".review").count() == 0


@pytest.mark.parametrize("width", [360, 700, 1280])
def test_the_bar_fits_and_hides_nothing(visit, index, width):
    tab = row_page(visit, index["items"]["id"][0], size=(width, 760))
    tab.keyboard.press("w")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    tab.wait_for_timeout(100)
    last, bar = tab.locator(".two .card").last.bounding_box(), tab.locator(".review").bounding_box()
    assert last["y"] + last["height"] <= bar["y"]
    assert bar["height"] < 760 / 2


@pytest.fixture(scope="module")
def verified(tmp_path_factory):
    """A build of which a verifier was asked about one row, with the row."""
    folder = make(tmp_path_factory.mktemp("verified") / "build", clips=3)
    item = shards.item(next(iter(shards.rows(folder))))
    plain = files(write(folder).page.parent)
    replies = VerifiedRow(item.id, 4, 1, 2, 2, 1.0, None, None, "kept", "Which of <b>them</b>?", "Old words.")
    verifier_table.write(folder, [replies])
    return folder, item, plain


def test_the_page_of_a_row_has_what_the_verifier_replied(verified, visit):
    folder, item, plain = verified
    page = write(folder).page
    (changed,) = {name for name, data in files(page.parent).items() if plain[name] != data} - {
        "data/index.js"
    }
    assert changed.startswith("data/chunk-")  # pages of rows alone
    tab = row_page(visit, item.id, page=page)
    card = tab.locator(".verifier")
    assert "the row's answer in 1 of 4 replies" in card.inner_text()
    assert "Which of" not in card.inner_text()
    card.get_by_text("Words before it was reworded").click()
    assert "Which of <b>them</b>?" in card.inner_text()
    assert "Old words." in card.inner_text()
    other = next(row["id"] for row in shards.rows(folder, ["id"]) if row["id"] != item.id)
    assert row_page(visit, other, page=page).locator(".verifier").count() == 0


def test_a_reviewer_opens_the_replies_by_hand(verified, visit):
    folder, item, _ = verified
    tab = visit(f"#/item/{item.id}", page=write(folder, sample=(100, 0)).page)
    tab.wait_for_selector(".judge")
    card = tab.locator(".verifier")
    assert "replies" in card.inner_text()
    assert "the row's answer" not in card.inner_text()
    card.get_by_text("Show its replies").click()
    assert "the row's answer in 2 of 2 replies" in card.inner_text()
