"use strict";
/* Addresses, keys, and what is on the page now. Addresses: #/, #/items?task=..., #/item/ID?task=... */

(() => {
  const main = document.getElementById("main"), help = document.getElementById("help");
  const now = { name: null, list: null, item: null, search: "", ready: null, review: null, turn: 0, tabbed: false };
  const top = new Map(); // how far each list was scrolled

  async function ready() {
    return (now.ready ??= filter.prepare(await paqa.index()));
  }

  function address() {
    const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const [page, ...rest] = path.split("/");
    return { page: page || "overview", id: rest.join("/"), search };
  }

  function leave(page) {
    if (now.name === "items") top.set(now.search, scrollY);
    now.item?.close();
    now.item = null;
    now.review?.show(null, null, page === "item");
    if (page !== "items") now.list = null;
    now.name = page;
  }

  async function showOverview() {
    const data = await paqa.overview();
    main.replaceChildren(overview.draw(data));
    document.title = `${data.name}: paqa report`;
  }

  async function showItems(search, fresh) {
    const all = await ready();
    now.list ??= browse.open(main, all);
    now.list.show(filter.parse(search));
    if (now.review) now.list.marked(now.review.mark);
    now.search = search;
    document.title = `Questions: ${all.index.name}`;
    if (fresh) scrollTo(0, top.get(search) ?? 0);
  }

  async function showItem(id, search, turn) {
    const all = await ready(), i = all.place.get(decodeURIComponent(id));
    if (i === undefined) { now.review?.show(null, null); return tell(`No question has the id ${id}.`); }
    const query = filter.parse(search), { found } = filter.run(all, query), at = found.indexOf(i);
    const near = (n) => (at >= 0 && found[n] !== undefined ? browse.link(all.index.items.id[found[n]], query) : null);
    const around = { number: at + 1, size: found.length, back: browse.list(query), before: near(at - 1), after: near(at + 1) };
    const opened = await item.open(all, i, around);
    if (turn !== now.turn) return opened.close(); // somebody went on before it was drawn
    main.replaceChildren(opened.node);
    now.item = { ...opened, around, i };
    now.review?.show(i, opened.key);
    document.title = `${all.index.items.question[i]}`;
    scrollTo(0, 0);
  }

  function tell(text) {
    main.replaceChildren(dom.el("p", { class: "empty" }, text));
  }

  async function route() {
    const { page, id, search } = address(), turn = ++now.turn;
    const fresh = now.name !== page || !now.list;
    if (page !== "items" || fresh) leave(page);
    for (const [name, node] of [["overview", "to-overview"], ["items", "to-items"]]) {
      document.getElementById(node).toggleAttribute("aria-current", page === name || (name === "items" && page === "item"));
    }
    try {
      if (page === "items") await showItems(search, fresh);
      else if (page === "item") await showItem(id, search, turn);
      else await showOverview();
      performance.mark("paqa-shown");
    } catch (error) {
      tell(error.message);
    }
  }

  function step(by) {
    if (now.item) {
      const to = by > 0 ? now.item.around.after : now.item.around.before;
      if (to) location.hash = to;
    } else if (now.list) {
      const rows = [...now.list.rows.querySelectorAll(".row")], at = rows.indexOf(document.activeElement);
      rows[Math.max(0, Math.min(rows.length - 1, at + by))]?.focus();
    }
  }

  function find() {
    if (now.list) now.list.search.focus();
    else { location.hash = "#/items"; setTimeout(() => now.list?.search.focus(), 60); }
  }

  /* The bar for verdicts: there from the start in a report that was made to be reviewed, else for who asks for it. */
  async function reviewing(on) {
    const all = await ready();
    if (on === Boolean(now.review)) return;
    now.review?.node.remove();
    now.review = on ? review.open(all, (id) => { location.hash = browse.link(id, {}); }) : null;
    if (on) document.body.append(now.review.node);
    if (on && now.item) now.review.show(now.item.i, now.item.key);
    now.list?.marked(on ? now.review.mark : null);
    document.body.classList.toggle("reviewing", on);
    document.getElementById("review-open").setAttribute("aria-pressed", String(on));
  }

  const KEYS = {
    v: () => reviewing(!now.review),
    "/": find, "?": () => help.showModal(), t: theme.toggle, j: () => step(1), k: () => step(-1),
    Escape: () => { if (now.item) location.hash = now.item.around.back; },
  };

  addEventListener("keydown", (event) => {
    const typing = event.target.matches("input, select, textarea");
    if (typing && event.key === "Escape") return event.target.blur();
    if (typing || help.open || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && now.tabbed && event.target.matches("button, summary, a")) return; // it is meant, not play
    const act = now.item?.keys[event.key] ?? KEYS[event.key] ?? now.review?.keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  addEventListener("keydown", (event) => { if (event.key === "Tab") now.tabbed = true; }, true);
  addEventListener("pointerdown", () => { now.tabbed = false; }, true);
  addEventListener("hashchange", route);
  document.getElementById("theme").addEventListener("click", theme.toggle);
  document.getElementById("review-open").addEventListener("click", KEYS.v);
  addEventListener("paqa-verdicts", () => { if (now.review) now.list?.marked(now.review.mark); });
  document.getElementById("help-open").addEventListener("click", () => help.showModal());
  route().then(() => ready()).then(({ index, size }) => {
    document.getElementById("name").textContent = index.name;
    document.getElementById("to-items").textContent = `Questions ${dom.count(size)}`;
    performance.mark("paqa-ready");
    if (index.review || verdicts.any(index.build)) return reviewing(true);
  }).catch((error) => tell(error.message));
})();
