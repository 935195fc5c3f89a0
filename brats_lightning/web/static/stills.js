// Still pictures, where this browser cannot draw the case itself.

import { api } from "./api.js";
import { byId, make } from "./dom.js";

const PICTURES = [
  ["planes", "Three planes through the largest lesion"],
  ["difference", "Difference between result and reference"],
  ["montage", "Slices"],
  ["surfaces", "Surfaces"],
];
let wanted = false;
let record = null;

/** Pictures from now on, and a word why. */
export function instead() {
  wanted = true;
  show(record);
}

export function show(newest) {
  record = newest;
  byId("picture").hidden = wanted;
  byId("stills").hidden = !wanted;
  if (!wanted || !record) return;
  const there = PICTURES.filter(([name]) => record.results.includes(`pictures/${name}.png`));
  const mark = [record.id, record.files.find(({ kind }) => kind === "seg")?.id, ...there.map(([name]) => name)].join();
  const list = byId("still-pictures");
  if (list.dataset.mark === mark) return;
  list.dataset.mark = mark;
  list.replaceChildren(...there.map(([name, title]) => make("figure", {},
    make("img", { src: `${api.result(record.id, `pictures/${name}.png`)}`, alt: `${title}, drawn in advance` }),
    make("figcaption", {}, title))));
  byId("stills-wait").hidden = there.length > 0 || !record.working.includes("report");
}
