"use strict";
/* One clip being played: which stem, where, and until where. */

const player = (() => {
  const STEMS = ["mix", "speech", "background"];

  /* `stems` as sound.stems gives them; listeners: moved(ms), changed(). */
  function open(stems, { moved, changed }) {
    const urls = Object.fromEntries(STEMS.filter((name) => stems[name]).map((name) => [name, URL.createObjectURL(sound.wav(stems[name]))]));
    const audio = dom.el("audio", { preload: "auto", src: urls.mix });
    const state = { stem: "mix", span: null, loop: false, frame: 0 };
    const now = () => audio.currentTime * 1000;

    function tick() {
      if (state.span && now() >= state.span[1]) ended();
      moved(now());
      state.frame = audio.paused ? 0 : requestAnimationFrame(tick);
    }

    function ended() {
      if (state.loop) audio.currentTime = state.span[0] / 1000;
      else { audio.pause(); audio.currentTime = state.span[1] / 1000; state.span = null; changed(); }
    }

    function start() {
      return audio.play().catch((error) => { if (error.name !== "AbortError") throw error; });
    }

    function toggle() {
      if (audio.paused) start(); else audio.pause();
    }

    /* Go to a moment, and forget the span. */
    function seek(ms) {
      state.span = null;
      audio.currentTime = Math.max(0, ms) / 1000;
      moved(now());
      changed();
    }

    function playSpan(from, to) {
      state.span = [from, to];
      audio.currentTime = from / 1000;
      moved(from);
      changed();
      return start();
    }

    function use(name) {
      if (!urls[name] || name === state.stem) return;
      const at = audio.currentTime, playing = !audio.paused;
      state.stem = name;
      audio.src = urls[name];
      audio.currentTime = at;
      audio.playbackRate = audio.defaultPlaybackRate;
      if (playing) start();
      changed();
    }

    function speed(rate) {
      audio.defaultPlaybackRate = rate;
      audio.playbackRate = rate;
      changed();
    }

    function loop() {
      state.loop = !state.loop;
      changed();
    }

    function close() {
      cancelAnimationFrame(state.frame);
      audio.pause();
      audio.removeAttribute("src");
      audio.load(); // let go of the sound before its address is taken away
      audio.remove();
      Object.values(urls).forEach((url) => URL.revokeObjectURL(url));
    }

    audio.addEventListener("play", () => { if (!state.frame) tick(); changed(); });
    audio.addEventListener("pause", () => { moved(now()); changed(); });
    audio.addEventListener("seeked", () => moved(now()));
    return { audio, state, urls, now, toggle, seek, playSpan, use, speed, loop, close };
  }

  return { open, STEMS };
})();
