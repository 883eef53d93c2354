"use strict";
/* Elements and formats. Whatever comes from data becomes a text node or an attribute's value, never markup. */

const dom = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function fill(node, props, children) {
    for (const [name, value] of Object.entries(props ?? {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "on") for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
      else if (name === "style") for (const [key, to] of Object.entries(value)) node.style.setProperty(key, to);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return node;
  }

  const el = (name, props, ...children) => fill(document.createElement(name), props, children);
  const svg = (name, props, ...children) => fill(document.createElementNS(SVG, name), props, children);
  const button = (label, act, props) => el("button", { type: "button", on: { click: act }, ...props }, label);
  const seconds = (ms, digits = 2) => (ms / 1000).toFixed(digits);
  const span = (start, end) => `${seconds(start)}–${seconds(end)} s`;
  const count = (n) => n.toLocaleString("en");
  const words = (name) => name.replaceAll("_", " ").replace(/:(?=\S)/, ": ");
  const letter = (index) => String.fromCharCode(65 + index);
  const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
  const voices = (n) => (n ? plural(n, "speaker") : "no speech");

  return { el, svg, button, seconds, span, count, words, letter, plural, voices };
})();
