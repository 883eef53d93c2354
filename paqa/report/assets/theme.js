"use strict";
/* Light or dark: as the system says, until somebody chooses. Runs before anything is drawn. */

const theme = (() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  function chosen() {
    try { return localStorage.getItem("paqa-theme"); } catch { return null; }
  }

  function keep(name) {
    try { localStorage.setItem("paqa-theme", name); } catch { /* a browser that keeps nothing: the choice lasts until the page is closed */ }
  }

  const dark = () => root.dataset.theme === "dark";

  function show(name) {
    root.dataset.theme = name;
    document.dispatchEvent(new Event("theme"));
  }

  function toggle() {
    const name = dark() ? "light" : "dark";
    keep(name);
    show(name);
  }

  show(chosen() ?? (system.matches ? "dark" : "light"));
  system.addEventListener("change", () => { if (!chosen()) show(system.matches ? "dark" : "light"); });
  return { toggle, dark, colour: (name) => getComputedStyle(root).getPropertyValue(name).trim() };
})();
