"use strict";
/* Verdicts: what a reviewer says of rows, kept in this browser by build and reviewer, as the lines of a JSONL file. */

const verdicts = (() => {
  const DECISIONS = ["right", "wrong", "unsure"], PARTS = ["answer", "question", "rationale", "audio"];
  const NAME = "paqa-reviewer", place = (build, reviewer) => `paqa-verdicts:${build}:${reviewer}`;
  const memory = new Map(); // for a browser that keeps nothing

  function read(key) {
    try { return localStorage.getItem(key) ?? memory.get(key) ?? null; } catch { return memory.get(key) ?? null; }
  }

  /* Whether the browser keeps it. */
  function keep(key, text) {
    memory.set(key, text);
    try { localStorage.setItem(key, text); return true; } catch { return false; }
  }

  function lines(build, reviewer) {
    return new Map(JSON.parse(read(place(build, reviewer)) ?? "[]").map((line) => [line.id, line]));
  }

  /* The verdicts on one build as `{get, set, ...}`; `changed` is called whenever one of them changes. */
  function open(build, changed) {
    let reviewer = read(NAME) ?? "", rows = lines(build, reviewer), kept = true;

    function save() {
      kept = keep(place(build, reviewer), JSON.stringify([...rows.values()]));
      changed();
    }

    /* Take another name: what was judged without a name becomes this reviewer's, else each has their own verdicts. */
    function name(text) {
      const before = reviewer ? [] : [...rows.values()];
      reviewer = text.trim().slice(0, 200);
      kept = keep(NAME, reviewer);
      rows = lines(build, reviewer);
      if (reviewer && before.length) { keep(place(build, ""), "[]"); merge(before.map((line) => ({ ...line, reviewer }))); } else changed();
    }

    function set(row, more) {
      const had = rows.get(row.id) ?? { verdict: "unsure", parts: [], note: "" };
      const { verdict, parts, note, ...rest } = { ...had, ...row, ...more };
      const line = { id: row.id, verdict, parts, note, ...rest, reviewer, time: new Date().toISOString() };
      if (line.verdict !== "wrong") line.parts = [];
      rows.set(row.id, line);
      save();
    }

    function remove(id) {
      rows.delete(id);
      save();
    }

    /* Add lines of this reviewer; of two on one row the later counts. Returns how many were taken. */
    function merge(more) {
      let taken = 0;
      for (const line of more) {
        const had = rows.get(line.id);
        if (had && had.time >= line.time) continue;
        rows.set(line.id, line);
        taken += 1;
      }
      save();
      return taken;
    }

    const text = () => [...rows.values()].map((line) => `${JSON.stringify(line)}\n`).join("");
    return { name, set, remove, merge, text, get: (id) => rows.get(id), all: () => [...rows.values()], reviewer: () => reviewer, kept: () => kept };
  }

  /* Whether the last reviewer has judged rows of a build. */
  const any = (build) => lines(build, read(NAME) ?? "").size > 0;

  /* The lines of a file; an Error names the line that is no verdict. */
  function parse(text) {
    return text.replace(/^\uFEFF/, "").split("\n").map((line, n) => [line.trim(), n + 1]).filter(([line]) => line).map(([line, number]) => {
      let value = null;
      try { value = JSON.parse(line); } catch { /* said below */ }
      const texts = ["id", "key", "reviewer", "time", "clip_id", "template"].every((name) => typeof value?.[name] === "string" && value[name]);
      const parts = Array.isArray(value?.parts ?? []) && (value?.parts ?? []).every((part) => PARTS.includes(part));
      if (!texts || !parts || !DECISIONS.includes(value.verdict) || Number.isNaN(Date.parse(value.time)) || typeof (value.note ?? "") !== "string") {
        throw new Error(`line ${number}: found ${line.slice(0, 50)}, expected a verdict that a report saved`);
      }
      return { ...value, parts: value.parts ?? [], note: value.note ?? "", time: new Date(value.time).toISOString() };
    });
  }

  return { open, any, parse, DECISIONS, PARTS };
})();
