"use strict";
/* The list of questions, with search and filters on the side. */

const browse = (() => {
  const { el, button, count, words, letter, seconds } = dom;
  const PAGE = 50;
  const LABELS = { task: "Task", template: "Template", speakers: "Speakers", event: "Sound", subset: "Subset", split: "Split", reflected: "Reflected", source: "Set" };

  /* One select per facet; options say how many questions they lead to. */
  function facet(ready, name, change) {
    const box = el("select", { id: `by-${name}`, on: { change: () => change({ [name]: box.value || undefined }) } });
    const values = [...new Set(ready.values[name].flat())];
    const order = name === "speakers" ? (a, b) => a - b : (a, b) => words(a).localeCompare(words(b), "en");
    const options = values.sort(order).map((value) => [value, el("option", { value })]);
    const any = el("option", { value: "" });
    box.append(any, ...options.map(([, node]) => node));
    const update = (query, counts) => {
      any.textContent = "any";
      for (const [value, node] of options) {
        const n = counts.get(value) ?? 0;
        node.textContent = `${words(value)} (${count(n)})`;
        node.disabled = n === 0 && query[name] !== value;
      }
      box.value = query[name] ?? "";
      box.classList.toggle("set", query[name] !== undefined);
    };
    return { name, node: el("label", { class: "field", for: box.id }, el("span", null, LABELS[name]), box), update, empty: values.length < 2 };
  }

  function difficulty(change) {
    const make = (name, fallback) => {
      const box = el("input", { type: "number", min: 0, max: 1, step: 0.05, id: `difficulty-${name}`, "aria-label": `difficulty ${name}`, on: { change: () => change({ [name]: box.value === "" || Number(box.value) === fallback ? undefined : box.value }) } });
      return [name, fallback, box];
    };
    const parts = [make("from", 0), make("to", 1)];
    const update = (query) => parts.forEach(([name, fallback, box]) => { box.value = query[name] ?? fallback; });
    return { node: el("div", { class: "field" }, el("span", null, "Difficulty"), el("div", { class: "range" }, parts[0][2], "to", parts[1][2])), update };
  }

  /* From and to of each measure of quality that the build has. */
  function quality(ready, change) {
    const fields = (ready.index.measures ?? []).map(([name, label, unit]) => {
      const boxes = ["from", "to"].map((end) => {
        const key = `${name}_${end}`;
        const box = el("input", { type: "number", step: "any", id: key, "aria-label": `${label} ${end}`, on: { change: () => change({ [key]: box.value || undefined }) } });
        return [key, box];
      });
      const node = el("div", { class: "field" }, el("span", null, `${label}${unit && `,${unit}`}`), el("div", { class: "range" }, boxes[0][1], "to", boxes[1][1]));
      return [node, boxes];
    });
    const update = (query) => fields.forEach(([, boxes]) => boxes.forEach(([key, box]) => { box.value = query[key] ?? ""; }));
    const nodes = fields.map(([node]) => node);
    return { node: nodes.length ? el("details", { class: "more" }, el("summary", null, "Quality of the sound"), nodes) : null, update };
  }

  function row(ready, i, query, mark) {
    const { items, clips, terms } = ready.index, c = items.clip[i], answer = items.answer[i];
    const text = typeof answer === "number" ? `${letter(answer)}  ${items.choices[i][answer]}` : answer;
    const snr = clips.snr[c], mos = filter.measured(ready.index, i, "dnsmos");
    const verdict = mark?.(i);
    const chips = [words(terms.template[items.template[i]]), terms.split[items.split[i]], ...items.subsets[i].map((n) => terms.subset[n])];
    const quiet = [dom.voices(clips.speakers[c]), snr !== null && `${snr.toFixed(0)} dB`, mos !== null && `DNSMOS ${mos.toFixed(1)}`, `${seconds(clips.ms[c], 1)} s`, `difficulty ${items.difficulty[i].toFixed(2)}`, items.reflection[i] !== null && "reflected"].filter(Boolean);
    return el("li", null, el("a", { class: "row", href: link(items.id[i], query) },
      el("span", { class: "row-question" }, items.question[i]), el("span", { class: "row-answer" }, text),
      el("span", { class: "row-meta" }, verdict && el("span", { class: `chip mark-${verdict}` }, verdict), chips.map((chip) => el("span", { class: "chip" }, chip)), el("span", { class: "quiet-text" }, quiet.join(" · ")))));
  }

  function link(id, query) {
    const rest = filter.format({ ...query, page: undefined });
    return `#/item/${encodeURIComponent(id)}${rest ? `?${rest}` : ""}`;
  }

  const list = (query) => { const rest = filter.format(query); return `#/items${rest ? `?${rest}` : ""}`; };

  function chosen(ready, query, change) {
    const limits = new Map((ready.index.measures ?? []).flatMap(([name, label, unit]) => [[`${name}_from`, `${label} ≥ `, unit], [`${name}_to`, `${label} ≤ `, unit]]).map(([key, text, unit]) => [key, `${text}${query[key]}${unit}`]));
    const names = Object.keys(query).filter((name) => name in LABELS || name === "q" || name === "from" || name === "to" || limits.has(name));
    const label = (name) => limits.get(name) ?? ({ q: `“${query.q}”`, from: `difficulty ≥ ${query.from}`, to: `difficulty ≤ ${query.to}` })[name] ?? `${LABELS[name]}: ${words(query[name])}`;
    const chips = names.map((name) => button([label(name), el("span", { "aria-hidden": "true" }, "×")], () => change({ [name]: undefined }), { class: "chip remove", title: "Remove this filter" }));
    if (names.length > 1) chips.push(button("Clear all", () => change(Object.fromEntries(names.map((name) => [name, undefined]))), { class: "link" }));
    return chips;
  }

  function pager(page, pages, query) {
    if (pages < 2) return [];
    const to = (n) => list({ ...query, page: n === 1 ? undefined : String(n) });
    return [
      el("a", { class: page > 1 ? "step" : "step off", href: page > 1 ? to(page - 1) : null, rel: "prev" }, "Previous"),
      el("span", { class: "quiet-text" }, `page ${count(page)} of ${count(pages)}`),
      el("a", { class: page < pages ? "step" : "step off", href: page < pages ? to(page + 1) : null, rel: "next" }, "Next"),
    ];
  }

  /* Draws into `main`; returns `{show(query)}`, which is called for every change of the address. */
  function open(main, ready) {
    let query = {}, mark = null;
    const go = (address) => { if (location.hash !== address) { history.replaceState(null, "", address); dispatchEvent(new HashChangeEvent("hashchange")); } };
    const change = (more) => go(list({ ...query, ...more, page: undefined }));
    const search = el("input", { type: "search", id: "search", placeholder: "Search questions, choices, words, sounds, ids", "aria-label": "Search", autocomplete: "off", on: { input: () => change({ q: search.value || undefined }) } });
    const facets = ready.names.map((name) => facet(ready, name, change));
    const range = difficulty(change), sound = quality(ready, change);
    const sort = el("select", { id: "sort", "aria-label": "Order", on: { change: () => change({ sort: sort.value === "id" ? undefined : sort.value }) } },
      Object.entries(filter.sorts(ready.index)).map(([value, text]) => el("option", { value }, value === "id" && ready.index.review ? "in order of the draw" : text)));
    const size = el("p", { class: "size", role: "status", "aria-live": "polite" }), chips = el("div", { class: "chosen" });
    const rows = el("ol", { class: "rows" }), pages = el("nav", { class: "pager", "aria-label": "Pages of the list" });
    const side = el("details", { class: "filters", open: innerWidth > 800 }, el("summary", null, "Filters ▾"),
      el("div", { class: "fields" }, facets.filter((f) => !f.empty).map((f) => f.node), range.node, sound.node));
    main.replaceChildren(el("div", { class: "page browse" }, el("div", { class: "find" }, search), side,
      el("section", { class: "results", "aria-label": "Questions" }, el("div", { class: "results-head" }, size, sort), chips, rows, pages)));

    function show(next) {
      query = next;
      const { found, counts } = filter.run(ready, query);
      const last = Math.max(1, Math.ceil(found.length / PAGE)), page = Math.min(last, Math.max(1, Number(query.page) || 1));
      if (document.activeElement !== search) search.value = query.q ?? "";
      facets.forEach((f) => f.update(query, counts.get(f.name)));
      range.update(query);
      sound.update(query);
      sort.value = query.sort ?? "id";
      size.textContent = found.length === ready.size ? dom.plural(found.length, "question") : `${count(found.length)} of ${dom.plural(ready.size, "question")}`;
      chips.replaceChildren(...chosen(ready, query, change));
      rows.replaceChildren(...found.slice((page - 1) * PAGE, page * PAGE).map((i) => row(ready, i, query, mark)));
      if (!found.length) rows.append(el("li", { class: "empty" }, "Nothing matches. Remove a filter or change the search."));
      pages.replaceChildren(...pager(page, last, query));
    }

    /* Show a chip at each question for which `of(i)` has a text. */
    function marked(of) {
      mark = of;
      show(query);
    }

    return { show, marked, search, rows };
  }

  return { open, link, list };
})();
