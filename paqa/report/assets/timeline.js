"use strict";
/* Waveform, spectrogram, speakers, words and sounds on one time axis, with a cursor over all of them. */

const timeline = (() => {
  const { el, seconds, span } = dom;
  const WAVE = 64, MEL = 132, WIDEST = 12000, LETTER = 6.2;
  /* Stops of the spectrogram's colours, from silence to the loudest. */
  const LIGHT = [[255, 255, 255], [222, 232, 248], [150, 180, 232], [72, 92, 188], [44, 30, 106], [18, 10, 40]];
  const DARK = [[16, 18, 24], [40, 26, 84], [112, 32, 118], [194, 62, 88], [246, 142, 60], [252, 232, 160]];

  function lane(label, body, props = {}) {
    return el("div", { class: `lane ${props.class ?? ""}` }, el("div", { class: "lane-label", title: props.title }, label), el("div", { class: "lane-track", style: props.height ? { height: `${props.height}px` } : null }, body));
  }

  /* One stretch of time as a button that plays it. */
  function block(from, to, text, title, total, props, act) {
    return el("button", {
      type: "button", class: `block ${props.class ?? ""}`, title, "data-from": from, "data-to": to,
      style: { left: `${(100 * from) / total}%`, width: `${(100 * Math.max(to - from, 20)) / total}%`, ...props.style },
      on: { click: () => act(from, to) },
    }, el("span", null, text));
  }

  const voice = (n) => `var(--voice-${((n - 1) % 8) + 1})`;

  /* Speakers are numbered by first appearance in each hearing: one of `scene` has the colour of the one of `reference`
     with whom they talk most at once. */
  function matched(scene, reference) {
    const shared = new Map(), found = new Map(), taken = new Set();
    for (const [from, to, who] of scene.turns) {
      for (const [start, end, other] of reference.turns) {
        const key = `${who} ${other}`, both = Math.min(to, end) - Math.max(from, start);
        if (both > 0) shared.set(key, (shared.get(key) ?? 0) + both);
      }
    }
    for (const [key] of [...shared].sort((a, b) => b[1] - a[1])) {
      const [who, other] = key.split(" ").map(Number);
      if (!found.has(who) && !taken.has(other)) { found.set(who, other); taken.add(other); }
    }
    let next = Math.max(0, ...reference.turns.map((turn) => turn[2]));
    for (const [, , who] of scene.turns) if (!found.has(who)) found.set(who, (next += 1));
    return (who) => voice(found.get(who) ?? who);
  }

  function speakerLanes(scene, total, tone, cited, act) {
    const numbers = [...new Set(scene.turns.map((turn) => turn[2]))].sort((a, b) => a - b);
    return numbers.map((n) => lane([el("i", { class: "dot", style: { background: tone(n) } }), el("span", null, "S", el("span", { class: "long" }, "peaker"), ` ${n}`)], scene.turns.map(([from, to, who, text, emotion], i) =>
      who === n && block(from, to, text || "…", `Speaker ${n}, ${span(from, to)}${emotion ? `, ${emotion}` : ""}: ${text || "words not made out"}`, total,
        { class: cited.has(`turn:${i}`) ? "turn cited" : "turn", style: { "--voice": tone(n) } }, act))));
  }

  function wordLane(scene, total, tone, cited, act) {
    if (!scene.words.length) return [];
    return [lane("Words", scene.words.map(([from, to, text, who, sure], i) =>
      block(from, to, text, `${text}, ${span(from, to)}${who ? `, speaker ${who}` : ""}${sure < 1 ? `, ${Math.round(100 * sure)} % sure` : ""}`, total,
        { class: cited.has(`word:${i}`) ? "word cited" : "word", style: { "--voice": who ? tone(who) : "var(--muted)" } }, act)), { class: "words" })];
  }

  function eventLanes(scene, total, cited, act) {
    const labels = [...new Set(scene.events.map((event) => event[2]))];
    return labels.map((label) => lane(label, scene.events.map(([from, to, name, score], i) =>
      name === label && block(from, to, name, `${name}, ${span(from, to)}${score < 1 ? `, score ${score}` : ""}`, total,
        { class: cited.has(`event:${i}`) ? "event cited" : "event" }, act)), { title: label }));
  }

  function group(title, note, scene, total, tone, cited, act) {
    const lanes = [...speakerLanes(scene, total, tone, cited, act), ...wordLane(scene, total, tone, cited, act), ...eventLanes(scene, total, cited, act)];
    const head = el("div", { class: "lane-head" }, el("b", null, title), el("span", null, note));
    return el("section", { class: "lanes", "aria-label": title }, head, lanes.length ? lanes : el("p", { class: "lane-none" }, "Neither speech nor sounds."));
  }

  function axis(total, width) {
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60].find((s) => (s * 1000 * width) / total >= 46) ?? 60;
    const marks = [];
    for (let at = 0; at * 1000 <= total; at = Math.round((at + step) * 10) / 10) {
      marks.push(el("span", { style: { left: `${(100000 * at) / total}%` } }, `${step < 1 ? at.toFixed(1) : at}`));
    }
    return marks;
  }

  function canvas(height) {
    return el("canvas", { class: "picture", height, "aria-hidden": "true" });
  }

  function size(picture, width, height) {
    const ratio = Math.min(devicePixelRatio || 1, 2, WIDEST / width);
    picture.width = Math.round(width * ratio);
    picture.height = Math.round(height * ratio);
    return picture.getContext("2d");
  }

  /* `peak`: what fills the height. */
  function drawWave(picture, audio, peak, width) {
    const pen = size(picture, width, WAVE), columns = picture.width, middle = picture.height / 2, scale = (0.94 * middle) / peak;
    const found = sound.peaks(audio, columns);
    pen.clearRect(0, 0, columns, picture.height);
    pen.fillStyle = theme.colour("--wave");
    for (let c = 0; c < columns; c++) {
      const top = middle - found[2 * c + 1] * scale, foot = middle - found[2 * c] * scale;
      pen.fillRect(c, top, 1, Math.max(1, foot - top));
    }
  }

  /* 256 colours between the stops. */
  function palette(stops) {
    return Array.from({ length: 256 }, (_, i) => {
      const at = (i / 255) * (stops.length - 1), n = Math.min(stops.length - 2, Math.floor(at));
      return stops[n].map((low, c) => low + (stops[n + 1][c] - low) * (at - n));
    });
  }

  function drawMel(picture, audio, loudest, width) {
    const columns = Math.min(Math.round(width), 6000), found = sound.spectrogram(audio, columns);
    const colours = palette(theme.dark() ? DARK : LIGHT), image = new ImageData(columns, sound.BANDS);
    for (let c = 0; c < columns; c++) {
      for (let band = 0; band < sound.BANDS; band++) {
        const level = 1 + (found.values[c * sound.BANDS + band] - loudest) / sound.FLOOR_DB;
        const colour = colours[Math.max(0, Math.min(255, Math.round(255 * level)))];
        image.data.set([...colour, 255], 4 * ((sound.BANDS - 1 - band) * columns + c));
      }
    }
    const small = el("canvas", { width: columns, height: sound.BANDS });
    small.getContext("2d").putImageData(image, 0, 0);
    const pen = size(picture, width, MEL);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(small, 0, 0, picture.width, picture.height);
  }

  function frequencies(rate) {
    return [250, 1000, 4000].filter((hz) => hz < rate / 2).map((hz) =>
      el("span", { class: "hz", style: { bottom: `${100 * sound.height(hz, rate)}%` } }, hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`));
  }

  /* `clip` of a chunk, `cited` its evidence; `act.play(from, to)`, `act.seek(ms)`. */
  function open(clip, total, cited, act) {
    const none = new Set();
    const wave = canvas(WAVE), mel = canvas(MEL), marks = el("div", { class: "marks" });
    const melLabel = el("div", { class: "hz-axis" });
    const pictures = el("div", { class: "pictures", on: { pointerdown: begin } },
      lane("Waveform", wave, { height: WAVE }), lane(["Mel", melLabel], mel, { height: MEL, class: "mel" }));
    const groups = ["truth", "heard"].filter((kind) => clip[kind]).map((kind) => group(
      kind === "truth" ? "Ground truth" : "Predicted",
      kind === clip.answers ? "gives the answers" : kind === "truth" ? "for comparison" : "by the engines, for comparison",
      clip[kind], total, kind === clip.answers ? voice : matched(clip[kind], clip[clip.answers]),
      kind === clip.answers ? cited : none, act.play));
    const cursor = el("div", { class: "cursor", "aria-hidden": "true" }), region = el("div", { class: "region", hidden: true });
    const inner = el("div", { class: "tl-inner" }, pictures, lane("Seconds", marks, { class: "axis" }), groups, region, cursor);
    const box = el("div", { class: "timeline", tabindex: -1 }, inner);
    const view = { zoom: 1, width: 0, audio: null, peak: 0, loudest: 0 };

    const gutter = () => marks.getBoundingClientRect().left - inner.getBoundingClientRect().left;
    const moment = (event) => {
      const track = marks.getBoundingClientRect();
      return Math.max(0, Math.min(total, ((event.clientX - track.left) / track.width) * total));
    };

    /* A click goes to a moment; a drag plays what it passes over. */
    function begin(event) {
      if (!event.target.closest(".lane-track") || event.button) return;
      const from = moment(event);
      const up = (last) => {
        removeEventListener("pointerup", up);
        removeEventListener("pointercancel", up);
        const to = moment(last);
        if (last.type === "pointerup" && Math.abs(to - from) > 120 && event.pointerType === "mouse") act.play(Math.min(from, to), Math.max(from, to));
        else if (last.type === "pointerup") act.seek(from);
      };
      addEventListener("pointerup", up);
      addEventListener("pointercancel", up);
    }

    function place(node, from, to) {
      const start = gutter(), width = marks.clientWidth;
      node.style.transform = `translateX(${start + (from / total) * width}px)`;
      if (to !== undefined) node.style.width = `${((to - from) / total) * width}px`;
    }

    function fit() {
      inner.style.setProperty("--zoom", view.zoom);
      const width = marks.clientWidth;
      if (!width) return;
      view.width = width;
      marks.replaceChildren(...axis(total, width));
      for (const node of box.querySelectorAll(".word")) node.classList.toggle("tight", (parseFloat(node.style.width) / 100) * width < LETTER * node.textContent.length + 5);
      draw();
    }

    function draw() {
      if (!view.audio || !view.width) return;
      drawWave(wave, view.audio, view.peak, view.width);
      drawMel(mel, view.audio, view.loudest, view.width);
    }

    /* Show a stem; all stems are drawn on the scale of the mix. */
    function show(audio, mix) {
      if (!view.peak) {
        view.loudest = sound.spectrogram(mix, 200).most;
        view.peak = Math.max(0.01, ...sound.peaks(mix, 500).map(Math.abs));
      }
      melLabel.replaceChildren(...frequencies(audio.rate));
      view.audio = audio;
      draw();
    }

    let blocks = null;
    function move(ms) {
      place(cursor, ms);
      blocks ??= [...box.querySelectorAll(".block")].map((node) => [node, Number(node.dataset.from), Number(node.dataset.to)]);
      for (const [node, from, to] of blocks) node.classList.toggle("now", ms >= from && ms < to);
      follow();
    }

    function follow() {
      if (view.zoom === 1) return;
      const at = cursor.getBoundingClientRect().left - box.getBoundingClientRect().left;
      if (at < gutter() || at > box.clientWidth - 24) box.scrollLeft += at - box.clientWidth / 3;
    }

    function mark(chosen) {
      region.hidden = !chosen;
      if (chosen) place(region, chosen[0], chosen[1]);
    }

    function zoom(factor) {
      const most = Math.max(1, Math.min(16, WIDEST / Math.max(1, box.clientWidth)));
      view.zoom = Math.max(1, Math.min(most, view.zoom * factor));
      fit();
    }

    const watch = new ResizeObserver(() => { if (marks.clientWidth !== view.width) fit(); act.resized(); });
    watch.observe(box);
    document.addEventListener("theme", draw);
    const close = () => { watch.disconnect(); document.removeEventListener("theme", draw); };
    return { box, show, move, mark, zoom, close };
  }

  return { open, matched };
})();
