"use strict";
/* The page of one question: its clip to look at and listen to, the question, the rationale, truth beside hearing. */

const item = (() => {
  const { el, button, seconds, span, words, letter } = dom;
  const TITLES = {
    PLANNING: "Planning", ENV: "Sounds", SPEAKER: "Speakers", ASR: "Transcript", DESCRIPTION: "Description", REASONING: "Reasoning",
    SUMMARY: "Summary", RESPONSE: "Response", REFLECT: "Reflection", FINAL_ANSWER: "Final answer", RATIONALE: "Rationale",
  };
  const BRIEF = ["dnsmos", "snr_db", "srmr", "bandwidth_hz"]; // the measures of a speaker that are shown
  const SPEEDS = [1, 0.75, 0.5, 1.5];

  function cite(text, from, to, play) {
    return button(text, () => play(from, to), { class: "cite", title: `Play ${span(from, to)}`, "data-from": from, "data-to": to });
  }

  /* The text of a word that is evidence: many are too short to be read on the time axis. */
  function quoted(clip, kind, n) {
    const scene = clip[clip.answers];
    return kind === "word" && scene && scene.words[n] ? ` “${scene.words[n][2].trim()}”` : "";
  }

  /* Text with its citations; brackets and commas beside a citation stay on its line. */
  function prose(parts, play) {
    const texts = parts.map((part) => (typeof part === "string" ? part : ""));
    return parts.map((part, n) => {
      if (typeof part === "string") return part.slice(parts[n - 1] ? /^[).,;:]*/.exec(part)[0].length : 0, parts[n + 1] && part.endsWith("(") ? -1 : undefined);
      const open = texts[n - 1]?.endsWith("(") ? "(" : "", close = /^[).,;:]*/.exec(texts[n + 1] ?? "")[0];
      return el("span", { class: "nowrap" }, open, cite(part[0], part[1], part[2], play), close);
    });
  }

  function section(part, right, play) {
    const head = el("h4", null, TITLES[part.tag] ?? part.tag, part.mistaken && el("em", { title: "The reflection takes this back." }, " mistaken"));
    const box = (...body) => el("section", { class: `part ${part.tag.toLowerCase()}` }, head, ...body);
    if (part.lines) return box(part.lines.length ? el("ul", { class: "lines" }, part.lines.map((line) => perceived(line, play))) : el("p", { class: "note" }, "None."));
    if (part.text !== undefined) return box(el("p", { class: right(part) ? "verdict right" : "verdict wrong" }, part.index === null ? part.text : `(${letter(part.index)}) ${part.text}`));
    return box(part.parts.length ? el("p", null, prose(part.parts, play)) : el("p", { class: "note" }, "None."));
  }

  function perceived(line, play) {
    const time = cite(span(...line.span), ...line.span, play);
    if (line.label !== undefined) return el("li", null, time, el("span", null, line.label));
    const dot = el("i", { class: "dot", style: { background: `var(--voice-${((line.speaker - 1) % 8) + 1})` } });
    return el("li", null, time, el("span", null, dot, `Speaker ${line.speaker}: `, line.text ? `“${line.text}”` : "words not made out"));
  }

  function choices(index, i, sections) {
    const answer = index.items.answer[i], options = index.items.choices[i];
    const first = sections.find((part) => part.tag === "RESPONSE");
    if (!options.length) return el("p", { class: "choice right" }, el("b", null, "Answer"), el("span", null, String(answer)));
    return el("ol", { class: "choices" }, options.map((text, n) => {
      const wrong = first && first.index === n && n !== answer;
      return el("li", { class: n === answer ? "choice right" : wrong ? "choice wrong" : "choice" },
        el("b", null, letter(n)), el("span", null, text),
        n === answer ? el("em", null, "answer") : wrong && el("em", null, "first response"));
    }));
  }

  function beside(clip) {
    const { truth, heard } = clip;
    if (!truth || !heard) {
      const why = truth ? "What the engines predict is not in this report: the store was not at hand, or the engines have changed since." : "This clip has no ground truth: the answers come from predictions.";
      return el("p", { class: "note" }, why);
    }
    const voices = (scene) => new Set(scene.turns.map((turn) => turn[2])).size;
    const labels = (scene) => [...new Set(scene.events.map((event) => event[2]))].join(", ") || "none";
    const snr = (scene) => (scene.snr === null ? "–" : `${scene.snr.toFixed(1)} dB`);
    const rows = [["Speakers", voices], ["Turns", (s) => s.turns.length], ["Sounds", labels], ["SNR", snr], ["Language", (s) => s.language ?? "–"]];
    const table = el("table", { class: "beside" },
      el("thead", null, el("tr", null, ["", "Ground truth", "Predicted"].map((head) => el("th", null, head)))),
      el("tbody", null, rows.map(([name, of]) => {
        const [a, b] = [String(of(truth)), String(of(heard))];
        return el("tr", { class: a === b || a === "–" || b === "–" || name === "SNR" ? null : "differs" }, el("th", null, name), el("td", null, a), el("td", null, b));
      })));
    return [table, transcripts(clip.words), doubts(heard)];
  }

  /* The transcript once, with words that were predicted otherwise beside those of the ground truth. */
  function transcripts(runs) {
    if (!runs || !runs.length) return el("p", { class: "note" }, "No words in either.");
    const parts = runs.map(([op, truth, heard]) => {
      if (op === "equal") return `${truth} `;
      return [truth && el("del", { title: "in the ground truth alone" }, truth), truth && heard && " ", heard && el("ins", { title: "predicted alone" }, heard), " "];
    });
    return el("div", { class: "diff" }, el("p", null, parts), el("p", { class: "note" }, el("del", null, "in the ground truth alone"), " ", el("ins", null, "predicted alone")));
  }

  function doubts(scene) {
    if (!scene.doubts.length) return null;
    return el("details", null, el("summary", null, `${dom.plural(scene.doubts.length, "place")} where two hearings differ`),
      el("ul", { class: "plain" }, scene.doubts.map(([stage, from, to, first, second]) =>
        el("li", null, `${span(from, to)}, ${stage}: `, first || "nothing", " / ", second || "nothing"))));
  }

  function facts(index, i, clip, row) {
    const { items, clips, terms } = index;
    const c = items.clip[i], snr = clips.snr[c];
    const pairs = [
      ["Task", words(terms.task[items.task[i]])], ["Template", words(terms.template[items.template[i]])],
      ["Split", terms.split[items.split[i]]], ["Subsets", items.subsets[i].map((n) => terms.subset[n]).join(", ") || "none"],
      ["Difficulty", items.difficulty[i].toFixed(2)],
      ["Depends on audio", items.dependence[i] === null ? "not measured" : items.dependence[i].toFixed(2)],
      ["Reflected", items.reflection[i] === null ? "no" : words(terms.reflection[items.reflection[i]])],
      ["Answer from", row.answers_from === "truth" ? "ground truth" : "predictions"],
      ["Clip", `${clips.id[c]}, ${seconds(clips.ms[c])} s`], ["SNR", snr === null ? "–" : `${snr.toFixed(1)} dB`],
      ...(index.measures ?? []).map(([name, label, unit, digits]) => [label, number(filter.measured(index, i, name), unit, digits)]),
      ["Speakers", (index.measures ?? []).length > 0 && voices(index, clip)],
      ["Set", clips.corpus[c] === null ? null : terms.corpus[clips.corpus[c]]],
      ["Source", folded(clip.source)], ["Licence", clip.license], ["File", clip.uri],
      ["Engines", clip.heard_by.map(([stage, engine]) => `${stage}: ${engine}`).join(", ")], ["Row", row.id], ["Key", row.key.slice(0, 16)],
    ];
    return el("dl", { class: "meta" }, pairs.filter(([, value]) => value).map(([name, value]) => [el("dt", null, name), el("dd", null, value)]));
  }

  const number = (value, unit, digits) => (value === null ? null : `${value.toFixed(digits)}${unit}`);

  /* What the verifier replied to the question; closed where questions are judged, lest it sway whoever judges. */
  function verifier(index, i, row) {
    if (!row.verifier) return null;
    const { lines, before } = row.verifier;
    const old = before && el("details", null, el("summary", null, "Words before it was reworded"), before[0] !== index.items.question[i] && el("p", { class: "before" }, before[0]), el("pre", { class: "before" }, before[1]));
    const replies = [el("dl", { class: "meta" }, lines.map(([name, text]) => [el("dt", null, name), el("dd", null, text)])), old];
    return el("section", { class: "card verifier" }, el("h3", null, "Verifier"), index.verifier && el("p", { class: "note" }, index.verifier),
      index.review ? el("details", null, el("summary", null, "Show its replies"), replies) : replies);
  }

  /* The quality of each speaker, where nobody else talks. */
  function voices(index, clip) {
    const lines = clip.voices.map(([speaker, ...values]) => {
      const texts = index.measures.map(([name, label, unit, digits], n) => values[n] !== null && BRIEF.includes(name) && `${label} ${number(values[n], unit, digits)}`);
      return el("li", null, `Speaker ${speaker}: ${texts.filter(Boolean).join(", ")}`);
    });
    return lines.length > 0 && el("ul", { class: "plain" }, lines);
  }

  /* A long list of sources is opened by hand. */
  function folded(text) {
    const parts = text.split("; ");
    return parts.length < 3 ? text : el("details", null, el("summary", null, `${parts.length} sources`), el("ul", null, parts.map((part) => el("li", null, part))));
  }

  function controls(play, stems) {
    const names = player.STEMS.map((name, n) => button(name, () => play.use(name), {
      class: "seg", "data-stem": name, disabled: !stems[name], title: stems[name] ? `${name} (${n + 1})` : "this report has no stems of this clip",
    }));
    const clock = el("output", { class: "clock" }, "0.00");
    const go = button("▶", play.toggle, { class: "go", "aria-label": "Play or pause", title: "Play, pause (Space)" });
    const pace = button("1×", () => play.speed(SPEEDS[(SPEEDS.indexOf(play.audio.playbackRate) + 1) % SPEEDS.length]), { class: "quiet pace", title: "Speed" });
    const again = button("Loop", play.loop, { class: "quiet loop", title: "Repeat what was chosen (l)", "aria-pressed": "false" });
    const done = el("i"), chosen = el("b", { hidden: true });
    const save = el("a", { class: "quiet save", title: "Save this sound as WAV", "aria-label": "Save this sound as WAV" }, "↓ WAV");
    return { names, clock, go, pace, again, save, done, chosen };
  }

  /* Everything that moves: timeline and player of a clip. Returns the box and what keys may call. */
  function stage(clip, total, cited, stems, name) {
    let play = null;
    const act = { play: (from, to) => play?.playSpan(from, to), seek: (ms) => play?.seek(ms), resized: () => { if (play) { lines.move(play.now()); lines.mark(play.state.span); } } };
    const lines = timeline.open(clip, total, new Set(cited.map(([kind, n]) => `${kind}:${n}`)), act);
    play = player.open(stems, { moved, changed });
    const parts = controls(play, stems);
    const zooms = [button("−", () => lines.zoom(0.5), { class: "quiet", title: "Shrink the time axis (−)", "aria-label": "Shrink the time axis" }), button("+", () => lines.zoom(2), { class: "quiet", title: "Stretch the time axis (+)", "aria-label": "Stretch the time axis" })];

    function moved(ms) {
      parts.clock.textContent = seconds(ms);
      parts.done.style.transform = `scaleX(${Math.min(1, ms / total)})`;
      lines.move(ms);
    }

    function changed() {
      parts.go.textContent = play.audio.paused ? "▶" : "❚❚";
      parts.pace.textContent = `${play.audio.playbackRate}×`;
      parts.again.setAttribute("aria-pressed", String(play.state.loop));
      for (const node of parts.names) node.setAttribute("aria-pressed", String(node.dataset.stem === play.state.stem));
      parts.save.href = play.urls[play.state.stem];
      parts.save.download = `${name.replace(/[^\w.-]+/g, "_")}.${play.state.stem}.wav`;
      lines.mark(play.state.span);
      outline(parts.chosen, play.state.span);
      if (shown !== play.state.stem) lines.show(stems[(shown = play.state.stem)], stems.mix);
    }

    function outline(node, chosen) {
      node.hidden = !chosen;
      if (chosen) { node.style.left = `${(100 * chosen[0]) / total}%`; node.style.width = `${(100 * (chosen[1] - chosen[0])) / total}%`; }
    }

    let shown = null;
    let piece = -1;
    const nextPiece = () => { if (cited.length) { piece = (piece + 1) % cited.length; act.play(cited[piece][2], cited[piece][3]); } };
    const bar = el("div", { class: "player", role: "group", "aria-label": "Player" }, parts.go,
      el("span", { class: "time" }, parts.clock, ` / ${seconds(total)} s`), el("span", { class: "segs", role: "group", "aria-label": "Which sound" }, parts.names), parts.pace, parts.again, el("span", { class: "zooms" }, zooms), parts.save,
      el("span", { class: "progress", "aria-hidden": "true" }, parts.done, parts.chosen));
    changed();
    moved(0);
    return { bar, nodes: [lines.box, play.audio], play, lines, nextPiece, act, close: () => { play.close(); lines.close(); } };
  }

  /* The page as `{node, keys, close}`. `around` has the number in the list, its size, and links. */
  async function open(ready, i, around) {
    const { index } = ready, c = index.items.clip[i], total = index.clips.ms[c];
    const [clip, media] = await Promise.all([paqa.clip(c, index.chunk), paqa.media(index.clips.media[c])]);
    const stems = await sound.stems(media);
    const row = clip.items.find((one) => one.id === index.items.id[i]);
    const running = stage(clip, total, row.evidence, stems, index.clips.id[c]);
    const right = (part) => (part.index === null ? part.text === index.items.answer[i] : part.index === index.items.answer[i]);
    const play = running.act.play;
    const evidence = row.evidence.length > 0 && el("p", { class: "evidence" }, el("b", null, "Evidence"), row.evidence.map(([kind, n, from, to]) => cite(`${kind} ${n + 1}${quoted(clip, kind, n)} · ${span(from, to)}`, from, to, play)));
    const node = el("article", { class: "page item" },
      el("nav", { class: "crumbs", "aria-label": "Questions" },
        el("a", { href: around.back, class: "back" }, "← All questions"),
        el("span", null, `${dom.count(around.number)} of ${dom.count(around.size)}`),
        el("span", { class: "steps" },
          el("a", { class: around.before ? "step" : "step off", href: around.before, rel: "prev", title: "Previous (k)" }, "Previous"),
          el("a", { class: around.after ? "step" : "step off", href: around.after, rel: "next", title: "Next (j)" }, "Next"))),
      el("header", { class: "ask" }, tags(index, i), el("h1", null, index.items.question[i]), choices(index, i, row.sections)),
      running.bar,
      el("section", { class: "card stage", "aria-label": "The clip" }, running.nodes, !stems.speech && el("p", { class: "note" }, "Only the mix can be played: this report was written without the stems of this clip.")),
      el("div", { class: "two" },
        el("section", { class: "card" }, el("h3", null, "Rationale"), evidence, row.sections.map((part) => section(part, right, play))),
        el("div", { class: "stack" },
          el("section", { class: "card" }, el("h3", null, "Predictions beside the ground truth"), beside(clip)),
          verifier(index, i, row),
          el("section", { class: "card" }, el("h3", null, "About this question"), facts(index, i, clip, row)))));
    return { node, keys: keys(running), key: row.key, close: running.close };
  }

  function tags(index, i) {
    const { items, clips, terms } = index, c = items.clip[i];
    const texts = [words(terms.task[items.task[i]]), terms.split[items.split[i]], ...items.subsets[i].map((n) => terms.subset[n]), dom.voices(clips.speakers[c]), `${seconds(clips.ms[c], 1)} s`];
    return el("p", { class: "tags" }, texts.map((text) => el("span", { class: "chip" }, text)));
  }

  function keys({ play, lines, nextPiece }) {
    return {
      " ": play.toggle, ArrowLeft: () => play.seek(play.now() - 1000), ArrowRight: () => play.seek(play.now() + 1000),
      1: () => play.use("mix"), 2: () => play.use("speech"), 3: () => play.use("background"),
      e: nextPiece, l: play.loop, "+": () => lines.zoom(2), "=": () => lines.zoom(2), "-": () => lines.zoom(0.5),
    };
  }

  return { open };
})();
