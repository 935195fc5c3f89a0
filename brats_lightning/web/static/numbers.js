// Tables of sizes and scores.

import { make } from "./dom.js";
import { inOrder, listed, number, regionTitle, SEGMENTATIONS } from "./words.js";

function table(title, heads, body) {
  const cell = (text, index) => make(index ? "td" : "th", index ? {} : { scope: "row" }, text);
  return make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": title },
    make("table", {}, make("caption", {}, title),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...body.map((row) => make("tr", {}, ...row.map(cell))))));
}

const isFlat = (view) => view?.shape[2] === 1;
const isPlaced = (view) => view?.placed ?? true;
const absent = (size) => !size || size.voxels === 0;

/** How large the regions are, a table a segmentation: a picture knows its pixels alone, a slice no length across it. */
export function sizeTables({ sizes, view, files }) {
  const has = files.some(({ kind }) => kind === "seg"); // what is known of a reference outlives it for a moment
  const [flat, placed] = [isFlat(view), isPlaced(view)];
  const columns = [
    placed ? ["Volume (ml)", (size) => number(size.volume_ml, 2)] : ["Pixels", (size) => String(size.voxels)],
    !flat && ["Longest (mm)", (size) => number(size.longest_mm, 1)],
    [flat ? `Diameters (${placed ? "mm" : "pixels"})` : "Axial slice (mm)",
      (size) => `${number(size.axial_mm, 1)} × ${number(size.across_mm, 1)}`],
  ].filter(Boolean);
  const shown = Object.entries(sizes).filter(([segmentation]) => segmentation !== "reference" || has);
  return shown.map(([segmentation, regions]) => {
    const body = inOrder(Object.keys(regions)).map((name) => {
      const missing = absent(regions[name]);
      const cells = columns.map(([, text], index) => (missing ? (index ? "–" : "none") : text(regions[name])));
      return [regionTitle(name), ...cells];
    });
    const title = SEGMENTATIONS[segmentation] ?? segmentation;
    return table(title, ["Region", ...columns.map(([head]) => head)], body);
  });
}

/** What the columns of sizes mean. */
export function sizeWords({ view }) {
  if (!isFlat(view)) {
    return "The longest diameter in space, and the longest in an axial slice × the one at right angles to it.";
  }
  const words = "The longest diameter in the slice × the one at right angles to it.";
  return isPlaced(view) ? words : `${words} In pixels: how large they are is not known.`;
}

/** How well the result agrees with the reference. */
export function scoreTable({ scores, view }) {
  const body = inOrder(Object.keys(scores)).map((name) => {
    const { dice, iou, sensitivity, hd95_mm: hd95 } = scores[name];
    return [regionTitle(name), number(dice, 4), number(iou, 4), number(sensitivity, 4), number(hd95, 2)];
  });
  const hd95Head = `HD95 (${isPlaced(view) ? "mm" : "pixels"})`;
  return table("Agreement with the reference", ["Region", "Dice", "IoU", "Sensitivity", hd95Head], body);
}

/** What stands in the table for a region that is not there. */
export function scoreWords({ scores, sizes }) {
  const { prediction = {}, reference = {} } = sizes;
  const regions = inOrder(Object.keys(scores)).filter((name) => name in prediction && name in reference);
  const without = (count) => listed(regions.filter((name) =>
    Number(absent(prediction[name])) + Number(absent(reference[name])) === count).map(regionTitle));
  const [one, neither] = [without(1), without(2)];
  return [
    one && `In one of the two only: ${one}. It counts as Dice 0 and the largest HD95, as in the BraTS challenge.`,
    neither && `In neither of the two: ${neither}. It counts as full agreement, as in the BraTS challenge.`,
  ].filter(Boolean).join(" ");
}
