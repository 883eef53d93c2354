"use strict";
/* Small plots: bars in HTML, which wrap and can be clicked; histograms, intervals and a matrix in SVG. */

const charts = (() => {
  const { el, svg, count } = dom;

  /* Draw again whenever the width changes. */
  function fitted(draw) {
    const box = el("div", { class: "plot" });
    let last = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      if (width && width !== last) box.replaceChildren(draw((last = width)));
    }).observe(box);
    return box;
  }

  /* Rows of `{label, parts: [[n, class]], href, note, title}`: horizontal, possibly stacked. */
  function bars(rows, shown = 12) {
    const total = (row) => row.parts.reduce((sum, [n]) => sum + n, 0);
    const most = Math.max(1e-9, ...rows.map(total));
    const list = el("div", { class: "bars" }, rows.slice(0, shown).map((row) => bar(row, total(row), most)));
    if (rows.length <= shown) return list;
    const more = dom.button(`Show all ${rows.length}`, () => {
      list.append(...rows.slice(shown).map((row) => bar(row, total(row), most)));
      more.remove();
    }, { class: "link" });
    return el("div", null, list, more);
  }

  function bar(row, total, most) {
    const fills = row.parts.map(([n, kind]) => el("span", { class: `fill ${kind ?? ""}`, style: { width: `${(100 * n) / most}%` } }));
    const cells = [
      el("span", { class: "bar-label" }, row.label),
      el("span", { class: "bar-track" }, fills),
      el("span", { class: "bar-value" }, row.note ?? count(total)),
    ];
    return row.href ? el("a", { class: "bar", href: row.href, title: row.title }, cells) : el("div", { class: "bar", title: row.title }, cells);
  }

  const axis = (value) => String(Math.round(value * 1000) / 1000);

  /* Counts in bins; `link(from, to)` gives the address behind a bin. */
  function histogram(data, unit, link) {
    return fitted((width) => {
      const height = 150, foot = 22, left = 34, top = 8;
      const most = Math.max(...data.counts);
      const step = (width - left - 4) / data.counts.length;
      const y = (n) => top + (height - top - foot) * (1 - n / most);
      const picture = svg("svg", { width, height, role: "img", "aria-label": `histogram, ${data.counts.length} bins` });
      for (const n of [0, most]) picture.append(gridline(left, width, y(n), count(n)));
      data.counts.forEach((n, i) => picture.append(column(n, i, y)));
      const every = Math.ceil(data.counts.length / Math.max(2, Math.floor(width / 64)));
      for (let i = 0; i <= data.counts.length; i += every) {
        if (unit && left + i * step > width - 36) break;
        const text = axis(data.from + i * data.step);
        picture.append(svg("text", { x: left + i * step, y: height - 6, class: "tick", "text-anchor": "middle" }, text));
      }
      picture.append(svg("text", { x: width, y: height - 6, class: "tick unit", "text-anchor": "end" }, unit));
      return picture;

      function column(n, i, scale) {
        const from = data.from + i * data.step, to = from + data.step;
        const shape = svg("rect", { x: left + i * step + 1, width: Math.max(1, step - 2), y: scale(n), height: Math.max(0, scale(0) - scale(n)), rx: 2, class: "column" });
        const full = svg("rect", { x: left + i * step, width: step, y: top, height: height - top - foot, class: "catch" });
        const whole = svg("g", null, full, shape, svg("title", null, `${axis(from)} to ${axis(to)} ${unit}: ${count(n)}`));
        return link && n ? svg("a", { href: link(from, to), tabindex: -1 }, whole) : whole;
      }
    });
  }

  function gridline(from, to, y, text) {
    return svg("g", null,
      svg("line", { x1: from, x2: to, y1: y, y2: y, class: "grid" }),
      svg("text", { x: from - 6, y: y + 4, class: "tick", "text-anchor": "end" }, text));
  }

  /* Rows of `[by, name, clips, value, low, high]` as dots with their 95 % intervals. */
  function intervals(figure) {
    return fitted((width) => {
      const left = Math.min(150, width * 0.4), right = 56, line = 22, top = 6;
      const rows = figure.rows, height = top + rows.length * line + 22;
      const low = Math.min(0, ...rows.map((row) => row[4]));
      const high = Math.max(figure.unit === "%" ? 10 : 1, ...rows.map((row) => row[5]));
      const x = (value) => left + ((value - low) / (high - low)) * (width - left - right);
      const picture = svg("svg", { width, height, role: "img", "aria-label": figure.label });
      for (const value of ticks(low, high)) {
        picture.append(svg("line", { x1: x(value), x2: x(value), y1: top, y2: height - 18, class: value === 0 ? "grid zero" : "grid" }));
        picture.append(svg("text", { x: x(value), y: height - 4, class: "tick", "text-anchor": "middle" }, axis(value)));
      }
      rows.forEach(([by, name, clips, value, from, to], i) => {
        const y = top + i * line + line / 2;
        picture.append(svg("g", { class: by === "all" ? "dot whole" : "dot" },
          svg("title", null, `${name}: ${value.toFixed(1)} ${figure.unit}, 95 % between ${from.toFixed(1)} and ${to.toFixed(1)}; ${clips} clips`),
          svg("text", { x: left - 8, y: y + 4, class: "tick", "text-anchor": "end" }, name),
          svg("line", { x1: x(from), x2: Math.max(x(to), x(from) + 1), y1: y, y2: y, class: "range" }),
          svg("circle", { cx: x(value), cy: y, r: 4 }),
          svg("text", { x: width, y: y + 4, class: "tick strong", "text-anchor": "end" }, value.toFixed(1))));
      });
      return picture;
    });
  }

  function ticks(low, high) {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) found.push(value);
    return found;
  }

  return { bars, histogram, intervals };
})();
