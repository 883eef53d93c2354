"use strict";
/* Data from disk: a file is a script that calls `paqa.take(kind, name, value)`; the last few are kept. */

const paqa = (() => {
  const KEPT = { chunk: 8, media: 6 };
  const waiting = new Map();
  const kept = new Map();

  function take(kind, name, value) {
    waiting.get(`${kind}:${name}`)?.(value);
  }

  function read(kind, name, file) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      let value;
      waiting.set(`${kind}:${name}`, (given) => { value = given; });
      const done = () => {
        waiting.delete(`${kind}:${name}`);
        script.remove();
        if (value === undefined) reject(new Error(`${file} is missing or damaged; write the report again`));
        else resolve(value);
      };
      script.onload = done;
      script.onerror = done;
      script.src = file;
      document.head.append(script);
    });
  }

  function load(kind, name, file) {
    const key = `${kind}:${name}`;
    const found = kept.get(key) ?? read(kind, name, file);
    kept.delete(key);
    kept.set(key, found);
    found.catch(() => kept.delete(key));
    const same = [...kept.keys()].filter((other) => other.startsWith(`${kind}:`));
    for (const old of same.slice(0, Math.max(0, same.length - (KEPT[kind] ?? 1)))) kept.delete(old);
    return found;
  }

  const index = () => load("index", 0, "data/index.js");
  const overview = () => load("overview", 0, "data/overview.js");
  const media = (name) => load("media", name, `media/${name}.js`);

  async function clip(number, size) {
    const chunk = Math.floor(number / size);
    const clips = await load("chunk", chunk, `data/chunk-${String(chunk).padStart(5, "0")}.js`);
    return clips[number % size];
  }

  return { take, index, overview, media, clip };
})();
