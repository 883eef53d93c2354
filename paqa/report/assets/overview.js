"use strict";
/* The first page: what the build came to. Bars lead to the questions behind them. */

const overview = (() => {
  const { el, count, words, letter } = dom;
  const SPLITS = ["train", "validation", "test"];
  const to = (query) => `#/items?${filter.format(query)}`;

  function card(title, note, body) {
    return el("section", { class: "card" }, el("h3", null, title), typeof note === "string" ? el("p", { class: "note" }, note) : note, body);
  }

  function counted(rows, facet) {
    return charts.bars(rows.map(([name, n]) => ({ label: words(String(name)), parts: [[n]], href: facet && to({ [facet]: name }) })));
  }

  function bySplit(rows, facet) {
    return charts.bars(rows.map(([name, counts]) => ({
      label: words(name),
      parts: counts.map((n, i) => [n, SPLITS[i]]),
      href: to({ [facet]: name }),
      title: counts.map((n, i) => `${SPLITS[i]} ${count(n)}`).join(", "),
    })));
  }

  function legend(rows) {
    const used = SPLITS.filter((_, i) => rows.some(([, counts]) => counts[i]));
    return el("p", { class: "legend" }, used.map((name) => el("span", null, el("i", { class: `fill ${name}` }), name)));
  }

  function answers(groups) {
    return el("div", { class: "stack" }, groups.map(({ choices, at }) => {
      if (!choices) return el("p", { class: "note" }, `${dom.plural(at[0], "open-ended question")} without choices`);
      const sum = at.reduce((a, b) => a + b, 0);
      const rows = at.map((n, i) => ({ label: letter(i), parts: [[n]], note: `${((100 * n) / sum).toFixed(1)} %`, title: `${count(n)} of ${count(sum)}` }));
      return el("div", null, el("p", { class: "note" }, `${choices} choices: ${(100 / choices).toFixed(1)} % each would be even`), charts.bars(rows));
    }));
  }

  function quarantine(rows) {
    if (!rows.length) return el("p", { class: "note" }, "Nothing was quarantined.");
    return el("div", { class: "stack" }, rows.map(([stage, reason, n, details]) => el("details", { class: "reason" },
      el("summary", null, el("b", null, words(reason)), el("span", { class: "chip" }, stage), el("span", { class: "bar-value" }, count(n))),
      el("ul", null, details.map((text) => el("li", null, text))))));
  }

  function guessers(found) {
    const percent = (x) => `${(100 * x).toFixed(1)} %`;
    const rows = found.overall.map(([name, accuracy, chance, limit]) => ({
      label: words(name), parts: [[accuracy, accuracy > limit ? "over" : ""]], note: percent(accuracy),
      title: `chance ${percent(chance)}, limit ${percent(limit)}`,
    }));
    const [, , chance, limit] = found.overall[0] ?? [0, 0, 0, 0];
    const templates = found.templates.map(([name, n, worst, accuracy, luck]) => ({
      label: words(name), parts: [[Math.max(0, accuracy - luck), "over"]], note: `+${(100 * (accuracy - luck)).toFixed(0)} points of ${n}`,
      href: to({ template: name, sort: "guessable" }), title: `guesser: ${words(worst)}`,
    }));
    return el("div", { class: "columns" },
      el("div", null, el("p", { class: "note" }, `Right answers from the text alone; chance is ${percent(chance)}, at most ${percent(limit)} is allowed`), charts.bars(rows)),
      el("div", null, el("p", { class: "note" }, "Templates that give most away, best guesser over chance"), charts.bars(templates, 7)));
  }

  function audit(data) {
    if (!data.audit) return card("Audit", null, el("p", { class: "note" }, `No figures yet. Run paqa audit DIR --json DIR/${data.audit_file}, then paqa report DIR.`));
    const figures = data.audit.map((figure) => el("div", null,
      el("h4", null, figure.name, el("span", { class: "chip" }, `${figure.low_is_better ? "lower" : "higher"} is better`)),
      el("p", { class: "note" }, `${figure.label}, ${figure.unit}`), charts.intervals(figure)));
    return card("Audit: predictions against the ground truth", "Dots with 95 % intervals, over all clips and over slices of them", el("div", { class: "columns" }, figures));
  }

  function judged(found) {
    const named = (pairs) => charts.bars(pairs.map(([name, n]) => ({ label: words(name), parts: [[n]] })));
    const figures = found.figures.map((figure) => el("div", null,
      el("h4", null, figure.label), el("p", { class: "note" }, "% of judged rows, with 95 % intervals over clips"), charts.intervals(figure)));
    const shown = (value) => value.toFixed(2);
    const bins = found.bins.map(([low, high, n, confidence, right]) => [`${low.toFixed(1)} - ${high.toFixed(1)}`, n, shown(confidence), shown(right)]);
    return card("Rows from predictions, judged by the ground truth", "Answers and rationales beside the ground truth of their clips", el("div", { class: "columns" }, figures,
      el("div", null, el("h4", null, "Why rows are not right"), named(found.causes)),
      el("div", null, el("h4", null, "What rationales state falsely, rows"), named(found.false)),
      el("div", null, el("h4", null, "Confidence of rows"), el("p", { class: "note" }, `Expected calibration error ${found.error === null ? "-" : found.error.toFixed(3)}`),
        plain(bins, ["confidence", "rows", "mean", "right"]))));
  }

  function plain(rows, heads) {
    return el("div", { class: "scroll" }, el("table", { class: "listed" },
      el("thead", null, el("tr", null, heads.map((head) => el("th", null, head)))),
      el("tbody", null, rows.map((row) => el("tr", null, row.map((cell) => el("td", null, String(cell))))))));
  }

  const shortest = (value) => String(Number(value.toFixed(6)));

  function cards(data) {
    const seconds = (h, unit, link) => (h ? charts.histogram(h, unit, link) : el("p", { class: "note" }, "Nothing to show."));
    const difficult = (from, until) => to({ from: from.toFixed(2), to: Math.min(1, until).toFixed(2) });
    return [
      card("Tasks", legend(data.tasks), bySplit(data.tasks, "task")),
      card("Templates", legend(data.templates), bySplit(data.templates, "template")),
      card("Clip duration", "clips by length", seconds(data.durations, "s")),
      card("Speakers", "clips by number of voices", counted(data.speakers, "speakers")),
      card("Signal-to-noise ratio", `speech over background; ${dom.plural(data.no_snr, "clip")} without one of the two`, seconds(data.snr, "dB")),
      ...(data.quality ?? []).map(({ name, label, unit, clips, histogram }) => card(`Quality: ${label}`, `${dom.plural(clips, "clip")}; click a bin to see the questions`,
        seconds(histogram, unit, (from, until) => to({ [`${name}_from`]: shortest(from), [`${name}_to`]: shortest(until) })))),
      card("Sounds", "clips in which a sound occurs", counted(data.labels, "event")),
      card("Answer balance", null, answers(data.answers)),
      card("Difficulty", "questions; click a bin to see them", seconds(data.difficulty, "", difficult)),
      card("Dependence on the audio", "1: the text alone does not help; 0: it is enough", seconds(data.dependence, "")),
      card("Hard subsets", null, data.subsets.length ? counted(data.subsets, "subset") : el("p", { class: "note" }, "None.")),
      card("Wrong first answers", "what a reflected question got wrong; heard: an engine's own mistake, typed: one made up", counted(data.reflections, "reflected")),
      card("Quarantined", null, quarantine(data.quarantine)),
      card("Licences", "clips that carry each; a composed one carries several", charts.bars(data.licenses.map(([name, n]) => ({ label: name, parts: [[n]] })))),
      card("Engines", null, plain(data.engines, ["stage", "engine", "revision"])),
    ];
  }

  function draw(data) {
    const facts = data.facts.map(([value, label, detail]) => el("div", { class: "fact" }, el("b", null, value), el("span", null, label), el("small", null, detail)));
    const notes = data.notes.length > 0 && el("details", { class: "notes", open: data.notes.length < 3 },
      el("summary", null, dom.plural(data.notes.length, "note")), el("ul", null, data.notes.map((text) => el("li", null, text))));
    return el("div", { class: "page overview" },
      el("h1", null, data.name), data.description && el("p", { class: "lead" }, data.description),
      el("div", { class: "facts" }, facts), notes, el("div", { class: "masonry" }, cards(data)), el("div", { class: "grid-cards" }, data.shortcuts && card("Guessing from the text", null, guessers(data.shortcuts)), data.judged && judged(data.judged), audit(data)));
  }

  return { draw };
})();
