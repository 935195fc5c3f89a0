// What can be taken away, the reference that can be added, and the end of a case.

import { api } from "./api.js";
import { byId, make } from "./dom.js";
import { bytesText, timeText } from "./words.js";

const FILES = [
  ["mask.nii.gz", "Segmentation", "NIfTI, on the patient’s own grid"],
  ["mask.png", "Segmentation", "PNG"],
  ["entropy.nii.gz", "Uncertainty", "NIfTI, the network’s doubt (entropy)"],
  ["report.html", "Case report", "one HTML file, to read and to print"],
  ["scores.csv", "Scores", "CSV, agreement with the reference"],
  ["radiomics.csv", "Radiomics", "CSV, size, shape, intensity and texture"],
];
const WORKS = { compare: ["scores.csv"], report: ["report.html"], radiomics: ["radiomics.csv"] };
let app = null;

export function prepare(whole) {
  app = whole;
  const input = byId("reference-file");
  byId("reference-button").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = "";
    if (file) addReference(file);
  });
  const stage = byId("compare-area");
  stage.addEventListener("dragover", () => stage.classList.add("over"));
  stage.addEventListener("dragleave", () => stage.classList.remove("over"));
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) addReference(file);
  });
  byId("reference-remove").addEventListener("click", () => app.attempt(async () => {
    const file = app.record.files.find(({ kind }) => kind === "seg");
    app.update(await api.remove(app.record.id, file.id));
    byId("reference-button").focus();
  }));
  const dialog = byId("erase-dialog");
  byId("erase").addEventListener("click", () => dialog.showModal());
  byId("erase-no").addEventListener("click", () => dialog.close());
  byId("erase-yes").addEventListener("click", () => app.attempt(async () => {
    dialog.close();
    const { id } = app.record;
    await api.erase(id);
    app.leave(id, "The case has been erased from the server.", { good: true });
  }));
}

async function addReference(file) {
  const bar = byId("reference-bar");
  bar.hidden = false;
  bar.value = 0;
  byId("reference-words").textContent = `Sending ${file.name}, ${bytesText(file.size)}`;
  await app.attempt(async () => {
    const onProgress = (fraction) => { bar.value = fraction; };
    app.update(await api.putAs(app.record.id, "seg", file, { onProgress }));
  });
  bar.hidden = true;
  show(app.record);
}

/** The words beside the button, by what is known of the reference. */
function referenceWords(record) {
  if (record.working.includes("compare")) return "Comparing …";
  if (record.failed.compare) return record.failed.compare;
  const file = record.files.find(({ kind }) => kind === "seg");
  if (file) return `Compared with ${file.name}.`;
  return "Add a segmentation that you trust, on the same grid (NIfTI), to see how well the result agrees with it.";
}

export function show(record) {
  const has = record.files.some(({ kind }) => kind === "seg");
  const words = referenceWords(record);
  const place = byId("reference-words");
  // Only what is new: each change is read aloud.
  if (byId("reference-bar").hidden && place.textContent !== words) place.textContent = words;
  byId("reference-words").className = record.failed.compare ? "error" : "";
  byId("reference-button").textContent = has ? "Another reference" : "Add a reference";
  byId("reference-button").disabled = record.working.includes("compare");
  byId("reference-remove").hidden = !has || record.working.includes("compare");
  byId("downloads").replaceChildren(...downloads(record));
  byId("expires").textContent = `Erased from the server at ${timeText(record.expires)}, or now:`;
}

function downloads(record) {
  const rows = FILES.filter(([name]) => record.results.includes(name)).map(([name, title, words]) => {
    const link = (href, settings, text) => make("a", { href, ...settings }, text);
    const save = link(api.result(record.id, name, { download: true }), { download: "", className: "button" }, title);
    const seen = api.result(record.id, name);
    const open = name === "report.html" && link(seen, { target: "_blank", rel: "noopener" }, "Open");
    const again = record.working.some((work) => WORKS[work]?.includes(name)) && " · being made anew …";
    return make("li", {}, save, make("span", { className: "faint" }, words, open && " · ", open, again));
  });
  for (const [work, names] of Object.entries(WORKS)) {
    const titles = FILES.filter(([name]) => names.includes(name)).map(([, title]) => title);
    const there = names.every((name) => record.results.includes(name));
    if (record.working.includes(work) && !there) {
      rows.push(make("li", { className: "faint" }, `${titles[0]}: being made …`));
    } else if (record.failed[work] && work !== "compare") {
      rows.push(make("li", { className: "error" }, `${titles[0]}: ${record.failed[work]}`));
    }
  }
  return rows;
}

