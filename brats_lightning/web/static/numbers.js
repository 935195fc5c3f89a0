// Tables of sizes and scores.

import { make } from "./dom.js";
import { inOrder, number, regionTitle, SEGMENTATIONS } from "./words.js";

function table(title, heads, body) {
  const cell = (text, index) => make(index ? "td" : "th", index ? {} : { scope: "row" }, text);
  return make("div", { className: "wide", tabIndex: 0, role: "region", "aria-label": title },
    make("table", {}, make("caption", {}, title),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...body.map((row) => make("tr", {}, ...row.map(cell))))));
}

/** How large the regions are, a table a segmentation. */
export function sizeTables({ sizes }) {
  return Object.entries(sizes).map(([segmentation, regions]) => {
    const body = inOrder(Object.keys(regions)).map((name) => {
      const size = regions[name];
      if (size === null || size.voxels === 0) return [regionTitle(name), "none", "–", "–"];
      const across = `${number(size.axial_mm, 1)} × ${number(size.across_mm, 1)}`;
      return [regionTitle(name), number(size.volume_ml, 2), number(size.longest_mm, 1), across];
    });
    const title = SEGMENTATIONS[segmentation] ?? segmentation;
    return table(title, ["Region", "Volume (ml)", "Longest (mm)", "Axial slice (mm)"], body);
  });
}

/** How well the result agrees with the reference. */
export function scoreTable({ scores }) {
  const body = inOrder(Object.keys(scores)).map((name) => {
    const { dice, iou, sensitivity, hd95_mm: hd95 } = scores[name];
    return [regionTitle(name), number(dice, 4), number(iou, 4), number(sensitivity, 4), number(hd95, 2)];
  });
  return table("Agreement with the reference", ["Region", "Dice", "IoU", "Sensitivity", "HD95 (mm)"], body);
}
