"use strict";
/* Which questions are shown: a query is a plain object of texts, as it stands in the address. */

const filter = (() => {
  const SORTS = {
    id: "in order of id",
    hardest: "hardest first",
    easiest: "easiest first",
    longest: "longest clip first",
    guessable: "most guessable first",
  };
  const BY_MEASURE = { worst: "worst DNSMOS first", best: "best DNSMOS first", noisiest: "lowest SNR first", narrowest: "least bandwidth first" };

  /* The orders that a list can have; those by quality where it was measured. */
  const sorts = (index) => (index.measures?.length ? { ...SORTS, ...BY_MEASURE } : SORTS);

  /* Measure `name` of the clip of question i, null where it has none. */
  function measured(index, i, name) {
    const at = (index.measures ?? []).findIndex(([field]) => field === name);
    return index.clips.quality?.[index.items.clip[i]]?.[at] ?? null;
  }

  /* The facets: what each question has of them, as texts. */
  function facets(index) {
    const { items, clips, terms } = index;
    const one = (column) => (i) => [terms[column][items[column][i]]];
    return {
      task: one("task"),
      template: one("template"),
      speakers: (i) => [String(clips.speakers[items.clip[i]])],
      event: (i) => clips.labels[items.clip[i]].map((n) => terms.label[n]),
      subset: (i) => (items.subsets[i].length ? items.subsets[i].map((n) => terms.subset[n]) : ["none"]),
      split: one("split"),
      reflected: (i) => (items.reflection[i] === null ? ["no"] : ["yes", terms.reflection[items.reflection[i]]]),
      source: (i) => (clips.corpus[items.clip[i]] === null ? [] : [terms.corpus[clips.corpus[items.clip[i]]]]),
    };
  }

  function haystack(index, i) {
    const { items, clips, terms } = index;
    const c = items.clip[i];
    const answer = typeof items.answer[i] === "string" ? items.answer[i] : "";
    const labels = clips.labels[c].map((n) => terms.label[n]);
    return [items.id[i], items.question[i], ...items.choices[i], answer, clips.said[c], ...labels].join("\n").toLowerCase();
  }

  /* Everything that does not depend on the query, once. */
  function prepare(index) {
    const named = facets(index);
    const size = index.items.id.length;
    const values = {};
    for (const [name, of] of Object.entries(named)) values[name] = Array.from({ length: size }, (_, i) => of(i));
    let texts = null;
    const search = () => (texts ??= Array.from({ length: size }, (_, i) => haystack(index, i)));
    const place = new Map(index.items.id.map((id, i) => [id, i]));
    return { index, values, search, place, size, names: Object.keys(named) };
  }

  function tests(ready, query) {
    const { items } = ready.index;
    const found = [];
    const wanted = (query.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    if (wanted.length) {
      const texts = ready.search();
      found.push([null, (i) => wanted.every((word) => texts[i].includes(word))]);
    }
    const low = Number(query.from ?? 0), high = Number(query.to ?? 1);
    if (low > 0 || high < 1) found.push([null, (i) => items.difficulty[i] >= low && items.difficulty[i] <= high]);
    for (const [name] of ready.index.measures ?? []) {
      const least = query[`${name}_from`], most = query[`${name}_to`];
      if (least === undefined && most === undefined) continue;
      const value = (i) => measured(ready.index, i, name);
      found.push([null, (i) => value(i) !== null && value(i) >= Number(least ?? -Infinity) && value(i) <= Number(most ?? Infinity)]);
    }
    for (const name of ready.names) {
      if (query[name] !== undefined) found.push([name, (i) => ready.values[name][i].includes(query[name])]);
    }
    return found;
  }

  /* The questions that match, and for each facet how many would with another value of it. */
  function run(ready, query) {
    const checks = tests(ready, query);
    const counts = new Map(ready.names.map((name) => [name, new Map()]));
    const found = [];
    for (let i = 0; i < ready.size; i++) {
      let failed = 0, which = null;
      for (const [name, passes] of checks) {
        if (!passes(i)) { failed += 1; which = name; if (failed > 1 || name === null) { failed = 2; break; } }
      }
      if (failed === 0) found.push(i);
      if (failed > 1) continue;
      for (const name of failed ? [which] : ready.names) tally(counts.get(name), ready.values[name][i]);
    }
    return { found: sorted(ready, found, query.sort), counts };
  }

  function tally(counts, values) {
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  }

  function sorted(ready, found, sort) {
    const { items, clips } = ready.index;
    const by = {
      hardest: (i) => -items.difficulty[i],
      easiest: (i) => items.difficulty[i],
      longest: (i) => -clips.ms[items.clip[i]],
      guessable: (i) => items.dependence[i] ?? 1,
      worst: (i) => measured(ready.index, i, "dnsmos") ?? Infinity,
      best: (i) => -(measured(ready.index, i, "dnsmos") ?? -Infinity),
      noisiest: (i) => measured(ready.index, i, "snr_db") ?? Infinity,
      narrowest: (i) => measured(ready.index, i, "bandwidth_hz") ?? Infinity,
    }[sort];
    return by ? found.sort((a, b) => by(a) - by(b) || a - b) : found;
  }

  function parse(text) {
    return Object.fromEntries([...new URLSearchParams(text)].filter(([, value]) => value !== ""));
  }

  const format = (query) => new URLSearchParams(Object.entries(query).filter(([, v]) => v !== undefined && v !== "")).toString();

  return { sorts, measured, prepare, run, parse, format };
})();
