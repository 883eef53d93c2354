"use strict";
/* The bar in which rows are judged: verdict, parts, note, progress, and the file to save or go on with. */

const review = (() => {
  const { el, button } = dom;
  const KEYS = { right: "r", wrong: "w", unsure: "u" };
  const TITLES = { right: "Right", wrong: "Wrong", unsure: "Unsure" };

  /* The bar as `{node, keys, show(i), next(), mark(id), ...}`; `go(id)` opens a row. */
  function open(ready, go) {
    const { index } = ready, { items, clips, terms } = index, drawn = index.review;
    const state = verdicts.open(index.build, refresh);
    let at = null, last = -1, key = null;

    /* What a line says of the row itself. */
    function row(i) {
      const sample = drawn && { sample: drawn.sample, stratum: drawn.stratum[i], stratum_rows: drawn.stratum_rows[i], weight: drawn.weight[i] };
      return { id: items.id[i], key, clip_id: clips.id[items.clip[i]], template: terms.template[items.template[i]], audio_dependence: items.dependence[i], build: index.build, ...sample };
    }

    const line = () => (at === null ? undefined : state.get(items.id[at]));
    const isStale = (i) => { const had = state.get(items.id[i]), now = drawn ? drawn.key[i] : i === at ? key : null; return Boolean(had && now && had.key !== now); };

    function decide(verdict) {
      if (at === null) return;
      if (line()?.verdict === verdict && !isStale(at)) state.remove(items.id[at]);
      else state.set(row(at), { verdict });
    }

    function blame(part) {
      if (at === null) return;
      const parts = line()?.parts ?? [], more = parts.includes(part) ? parts.filter((one) => one !== part) : [...parts, part];
      state.set(row(at), { verdict: "wrong", parts: verdicts.PARTS.filter((one) => more.includes(one)) });
    }

    function annotate() {
      const text = note.value.trim();
      if (at !== null && text !== (line()?.note ?? "")) state.set(row(at), { note: text });
    }

    const label = (text, letter) => [text, el("kbd", { "aria-hidden": "true" }, letter)];
    const decisions = verdicts.DECISIONS.map((name) => button(label(TITLES[name], KEYS[name]), () => decide(name), { class: `decide ${name}`, "data-verdict": name, "aria-pressed": "false", title: `${TITLES[name]} (${KEYS[name]}); once more takes it back` }));
    const parts = verdicts.PARTS.map((name, n) => button(label(name, n + 4), () => blame(name), { class: "blame", "data-part": name, "aria-pressed": "false", title: `The ${name} is wrong (${n + 4})` }));
    const note = el("input", { type: "text", class: "remark", placeholder: "Note (n)", "aria-label": "Note", maxlength: 10000, autocomplete: "off", on: { change: annotate, keydown: (event) => { if (event.key === "Enter") note.blur(); } } });
    const who = el("input", { type: "text", class: "who", placeholder: "Your name", "aria-label": "Your name", maxlength: 200, value: state.reviewer(), autocomplete: "off", on: { change: () => state.name(who.value), keydown: (event) => { if (event.key === "Enter") who.blur(); } } });
    const count = el("output", { class: "count", "aria-live": "polite" }), meter = el("i"), message = el("span", { class: "message", role: "status" });
    const picker = el("input", { type: "file", accept: ".jsonl,.json,.txt", hidden: true, on: { change: load } });
    const judge = el("div", { class: "judge", role: "group", "aria-label": "Verdict" }, decisions, el("span", { class: "parts", role: "group", "aria-label": "What is wrong" }, parts), note);
    const file = el("div", { class: "file" }, count, el("span", { class: "meter", "aria-hidden": "true" }, meter), who,
      button(label("Next open", "g"), next, { class: "quiet" }), button(label("Save", "s"), save, { class: "quiet", title: "Save the verdicts as a file of JSON lines (s)" }), button("Import", () => picker.click(), { class: "quiet", title: "Go on with a file that was saved before" }), picker);
    const help = el("p", { class: "hint" }, ["j k next, previous", "Space play, pause", "e next piece of evidence", "r right", "w wrong", "u unsure", "4–7 what is wrong", "n note", "g next without a verdict", "s save", "? all keys"].map((text) => {
      const [keys, ...rest] = text.split(" "), two = keys === "j";
      return el("span", null, el("kbd", null, keys), two && [" ", el("kbd", null, rest[0])], ` ${rest.slice(two ? 1 : 0).join(" ")}`);
    }));
    const node = el("aside", { class: "review", "aria-label": "Review" }, judge, file, message, help);

    function refresh() {
      const judged = items.id.filter((id, i) => state.get(id) && !isStale(i)).length, mine = line();
      for (const one of decisions) one.setAttribute("aria-pressed", String(one.dataset.verdict === mine?.verdict && !isStale(at)));
      for (const one of parts) one.setAttribute("aria-pressed", String(Boolean(mine?.parts.includes(one.dataset.part))));
      if (document.activeElement !== note) note.value = mine?.note ?? "";
      if (document.activeElement !== who) who.value = state.reviewer();
      judge.hidden = at === null && !judge.inert;
      count.textContent = `${dom.count(judged)} of ${dom.count(items.id.length)} judged`;
      meter.style.transform = `scaleX(${judged / items.id.length})`;
      if (at !== null && isStale(at)) message.textContent = "This question has changed since your verdict on it: judge it again.";
      else if (!state.kept()) message.textContent = "This browser keeps nothing: save before you close the page.";
      else message.textContent = "";
      dispatchEvent(new Event("paqa-verdicts"));
    }

    /* The row on the page; null where there is none, or while it is loaded: keys do nothing then. */
    function show(i, rowKey, loading = false) {
      note.blur(); // which keeps the note of the row before
      at = i;
      last = i ?? last;
      key = rowKey;
      judge.inert = loading;
      refresh();
    }

    /* The next row without a verdict, from the one on the page on. */
    function next() {
      const size = items.id.length, from = last;
      for (let step = 1; step <= size; step++) {
        const i = (from + step) % size;
        if (!state.get(items.id[i]) || isStale(i)) return go(items.id[i]);
      }
      message.textContent = "All are judged. Save them (s).";
    }

    function save() {
      annotate();
      if (!state.reviewer()) { message.textContent = "Your name first: it stands in each verdict."; return who.focus(); }
      if (!state.all().length) { message.textContent = "There is no verdict yet."; return; }
      const url = URL.createObjectURL(new Blob([state.text()], { type: "application/jsonl" }));
      const safe = (text) => text.replace(/[^\p{L}\p{N}.-]+/gu, "_");
      el("a", { href: url, download: `${safe(index.name)}-${safe(state.reviewer())}.jsonl` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      message.textContent = `${dom.plural(state.all().length, "verdict")} saved.`;
    }

    async function load() {
      const [chosen] = picker.files;
      if (!chosen) return;
      try {
        const lines = verdicts.parse(await chosen.text());
        const names = [...new Set(lines.map((one) => one.reviewer))];
        if (!state.reviewer() && names.length === 1) state.name(names[0]);
        const mine = lines.filter((one) => one.reviewer === state.reviewer()), here = mine.filter((one) => ready.place.has(one.id));
        const taken = state.merge(mine), others = lines.length - mine.length;
        message.textContent = [`${dom.plural(taken, "verdict")} added from ${chosen.name}`, mine.length > here.length && `${dom.count(mine.length - here.length)} of questions that are not here`, others > 0 && `${dom.count(others)} of ${names.filter((one) => one !== state.reviewer()).join(", ")} left out`].filter(Boolean).join("; ") + ".";
      } catch (error) {
        message.textContent = `${chosen.name}: ${error.message}. Nothing was added.`;
      }
      picker.value = "";
    }

    /* What is shown of a row in the list: its verdict, or nothing. */
    const mark = (i) => { const had = state.get(items.id[i]); return had ? (isStale(i) ? "changed" : had.verdict) : null; };
    const keys = { r: () => decide("right"), w: () => decide("wrong"), u: () => decide("unsure"), n: () => at !== null && note.focus(), g: next, s: save,
      ...Object.fromEntries(verdicts.PARTS.map((name, n) => [n + 4, () => blame(name)])) };
    refresh();
    return { node, keys, show, next, mark };
  }

  return { open };
})();
