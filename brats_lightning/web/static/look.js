// The third and fourth state: the result is looked at and compared.

import { api } from "./api.js";
import { byId, choice, make, slider, tick } from "./dom.js";
import { listen } from "./gestures.js";
import { scoreTable, scoreWords, sizeTables, sizeWords } from "./numbers.js";
import * as stills from "./stills.js";
import * as take from "./take.js";
import { AnotherCase, Viewer } from "./viewer.js";
import { listed, number, placeText, SEGMENTATIONS, titleOf } from "./words.js";

const NARROW = 700;
const DIFFERENCE = [
  { value: 1, name: "both", title: "In both", colour: "#009E73" },
  { value: 2, name: "missed", title: "Only in the reference", colour: "#D55E00" },
  { value: 3, name: "extra", title: "Only in the result", colour: "#56B4E9" },
];
const OVERLAYS = [
  ["prediction", "Result", ["prediction"]],
  ["reference", "Reference", ["reference"]],
  ["both", "Both", ["prediction", "reference"]],
  ["difference", "Difference", ["difference"]],
  ["entropy", "Uncertainty", ["prediction", "entropy"]],
  ["none", "None", []],
];
/** Which controls mean something for which overlays. */
const BELONGS = {
  tissues: ["prediction", "reference", "both"],
  parts: ["difference"],
  heat: ["entropy"],
  both: ["both"],
  drawn: ["prediction", "reference", "difference"],
};
const SEGMENTED = ["prediction", "reference", "both"];
let app = null;
let viewer = null;
let shownCase = "";
let offered = "";
let reference = "";
let now = null;

export function prepare(whole) {
  app = whole;
  take.prepare(whole);
  byId("keys-button").addEventListener("click", () => byId("keys-dialog").showModal());
  byId("keys-close").addEventListener("click", () => byId("keys-dialog").close());
}

export function show(record) {
  byId("sizes").replaceChildren(...sizeTables(record));
  byId("size-words").textContent = sizeWords(record);
  byId("score-words").textContent = scoreWords(record);
  byId("side-words").textContent =
    record.view?.placed ? "The patient’s right is on the left." : "A picture does not say which side is which.";
  byId("made-by").hidden = app.about.networks.length < 2;
  byId("made-by").textContent = `Segmented by ${listed(record.networks)}.`;
  byId("scores").replaceChildren(...(Object.keys(record.scores).length ? [scoreTable(record)] : []));
  byId("look-notes").replaceChildren(...record.notes.map((note) => make("li", {}, note)));
  take.show(record);
  stills.show(record);
  if (record.view) attempt(() => showViewer(record));
}

/** Nothing of a case may stay in view, or in memory, when it is left. */
export function clear() {
  shownCase = "";
  now = null;
  viewer?.close();
}

async function showViewer(record) {
  const seg = record.files.find(({ kind }) => kind === "seg")?.id ?? "";
  const isNew = shownCase !== record.id;
  if (!isNew && reference !== seg) viewer?.forget(["reference", "difference"]);
  reference = seg;
  const there = (name) => record.results.includes(`volumes/${name}.nii.gz`);
  const kinds = OVERLAYS.filter(([, , names]) => names.every(there));
  const offer = kinds.map(([name]) => name).join();
  if (!isNew && offer === offered) return;
  const added = !isNew && !offered.includes("difference") && offer.includes("difference");
  [shownCase, offered] = [record.id, offer];
  if (!Viewer.possible()) {
    stills.instead();
    return;
  }
  byId("stage").dataset.state = "loading";
  if (isNew) {
    now = beginning(record.view);
    viewer ??= opened();
    await viewer.open(record.view, (name) => api.bytes(record.id, `volumes/${name}.nii.gz`));
  }
  if (added) now.overlay = "both";
  for (const { value } of record.view.tissues) { // a reference may have tissues that the result has not
    if (!viewer.view.tissues.some((tissue) => tissue.value === value)) now.tissues.add(value);
  }
  viewer.view = record.view;
  for (const name of ["overlay", "before"]) if (!kinds.some(([each]) => each === now[name])) now[name] = "prediction";
  buildControls(record.view, kinds);
  await draw();
  byId("stage").dataset.state = "ready";
  if (!matchMedia("(pointer: coarse)").matches) await loadOthers(record);
}

/** Images that are not in view yet, so that changing to them takes no time, and their values can be read. */
async function loadOthers(record) {
  for (const name of record.view.images) {
    if (shownCase !== record.id) return;
    await viewer.image(name);
    tell();
  }
}

function beginning(view) {
  const flat = view.shape[2] === 1;
  return {
    image: view.images.includes("t2f") ? "t2f" : view.images[0], // the whole tumour is bright on FLAIR
    plane: flat || innerWidth < NARROW ? "axial" : "all",
    overlay: "prediction",
    before: "prediction", // to which the keys that change the overlay for a moment come back
    outline: false,
    opacity: 0.45,
    tissues: new Set(view.tissues.map(({ value }) => value)),
    parts: new Set(DIFFERENCE.map(({ value }) => value)),
  };
}

function opened() {
  const made = new Viewer(byId("stage").querySelector("canvas"), { onMove: tell, onWindow: tellWindow });
  const choose = (name, value) => {
    const input = document.querySelector(`#controls [name="${name}"][value="${value}"]`);
    if (input && !input.disabled) input.click();
  };
  const commands = {
    a: () => choose("plane", "axial"),
    c: () => choose("plane", "coronal"),
    s: () => choose("plane", "sagittal"),
    m: () => choose("plane", "all"),
    v: () => choose("plane", "3-D"),
    o: () => choose("drawn", now.outline ? "filled" : "outline"),
    h: () => choose("overlay", now.overlay === "none" ? now.before : "none"),
    u: () => choose("overlay", now.overlay === "entropy" ? now.before : "entropy"),
    d: () => choose("overlay", now.overlay === "difference" ? now.before : "difference"),
    "[": () => setOpacity(now.opacity - 0.1),
    "]": () => setOpacity(now.opacity + 0.1),
    "?": () => byId("keys-dialog").showModal(),
  };
  for (let place = 0; place < 4; place++) commands[place + 1] = () => choose("image", made.view.images[place]);
  listen(byId("stage"), made, commands);
  byId("stage").querySelector("canvas").addEventListener("webglcontextlost", () => stills.instead());
  return made;
}

function setOpacity(value) {
  now.opacity = Math.min(1, Math.max(0.05, value));
  byId("slider-opacity").value = now.opacity;
  redraw();
}

const redraw = () => attempt(draw);

/** Does something with the viewer; what comes too late, for a case that has been left, is nobody's concern. */
function attempt(act) {
  return app.attempt(async () => {
    try {
      await act();
    } catch (error) {
      if (!(error instanceof AnotherCase)) throw error;
    }
  });
}

/** Draws what the controls say. */
function draw() {
  const { view } = viewer;
  const tissues = { colours: view.tissues, values: now.tissues };
  const all = new Set(view.tissues.map(({ value }) => value));
  const white = view.tissues.map((tissue) => ({ ...tissue, colour: "#FFFFFF" }));
  const layers = {
    prediction: [{ name: "prediction", ...tissues, outline: now.outline }],
    reference: [{ name: "reference", ...tissues, outline: now.outline }],
    both: [{ name: "prediction", ...tissues, outline: false }, { name: "reference", ...tissues, outline: true }],
    difference: [{ name: "difference", colours: DIFFERENCE, values: now.parts, outline: now.outline }],
    entropy: [{ name: "prediction", colours: white, values: all, outline: true }],
    none: [],
  };
  for (const [id, overlays] of Object.entries(BELONGS)) byId(`control-${id}`).hidden = !overlays.includes(now.overlay);
  byId("control-opacity").hidden = now.overlay === "none";
  if (byId("control-slice")) byId("control-slice").hidden = now.plane === "3-D";
  return viewer.show({
    image: now.image, plane: now.plane, opacity: now.opacity,
    layers: layers[now.overlay], heat: now.overlay === "entropy" ? "entropy" : null,
  });
}

function buildControls(view, kinds) {
  const set = (name) => (value) => {
    if (SEGMENTED.includes(now[name])) now.before = now[name];
    now[name] = value;
    redraw();
  };
  const ticks = (group, name, entries) => make("fieldset", { className: "control", id: `control-${group}` },
    make("legend", {}, name), ...entries.map(({ title, value, colour }) => tick(group, title, {
      value: String(value), checked: now[group].has(value), colour,
      onTick: (on) => {
        now[group][on ? "add" : "delete"](value);
        redraw();
      },
    })));
  const picked = (name, title, options) => choice(name, title, options, { value: now[name], onChoose: set(name) });
  const flat = view.shape[2] === 1;
  const planes = [["all", "All"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["3-D", "3-D"]];
  const controls = [
    picked("image", "Image", view.images.map((name) => [name, titleOf(name)])),
    !flat && picked("plane", "View", planes),
    picked("overlay", "Overlay", kinds.map(([name, title]) => [name, title])),
    ticks("tissues", "Regions", view.tissues),
    ticks("parts", "Whole tumour", DIFFERENCE),
    make("p", { className: "control faint", id: "control-both" }, "The result is filled, the reference is outlined."),
    make("div", { className: "control", id: "control-heat" }, make("span", { className: "title" }, "Uncertainty"),
      make("div", { className: "heat" }),
      make("div", { className: "ends faint" }, make("span", {}, "sure"), make("span", {}, "unsure"))),
    choice("drawn", "Drawn as", [["filled", "Areas"], ["outline", "Outlines"]], {
      value: now.outline ? "outline" : "filled", onChoose: (value) => set("outline")(value === "outline"),
    }),
    slider("opacity", "Opacity", { low: 0.05, high: 1, step: 0.05, value: now.opacity, onMove: set("opacity") }),
    !flat && slider("slice", "Slice", { low: 1, high: view.shape[2], step: 1, value: 1, onMove: toSlice }),
    slider("level", "Window level", { low: 0, high: 1, value: 0, onMove: toWindow }),
    slider("width", "Window width", { low: 0, high: 1, value: 0, onMove: toWindow }),
    make("button", { type: "button", id: "reset", className: "quiet" }, "Reset the view"),
  ];
  byId("controls").replaceChildren(...controls.filter(Boolean));
  byId("reset").addEventListener("click", () => viewer.reset());
}

function toSlice(value) {
  const axis = Viewer.axisOf(now.plane);
  viewer.step(axis, value - 1 - viewer.voxel[axis]);
}

function toWindow() {
  const [level, width] = ["level", "width"].map((name) => Number(byId(`slider-${name}`).value));
  viewer.setWindow(level - width / 2, level + width / 2);
}

/** Where the crosshair is, and what is there. */
function tell() {
  if (!viewer?.settings || !now) return;
  const { view, reading } = viewer;
  const axis = Viewer.axisOf(now.plane);
  const input = byId("slider-slice");
  if (input) {
    input.max = view.shape[axis];
    input.value = reading.voxel[axis] + 1;
    input.setAttribute("aria-valuetext", `${reading.voxel[axis] + 1} of ${view.shape[axis]}`);
    input.labels[0].textContent = `Slice ${reading.voxel[axis] + 1} of ${view.shape[axis]}`;
  }
  // A picture is held as if its columns ran to the left and its rows to the back, and RAS order has both reversed.
  const [column, row] = [0, 1].map((each) => view.shape[each] - 1 - reading.voxel[each]);
  const place = view.placed ? placeText(reading.mm) : `column ${column}, row ${row}`;
  const name = (value) => view.tissues.find((tissue) => tissue.value === value)?.name ?? "–";
  const read = view.images.filter((kind) => kind in reading.values);
  const segmented = Object.keys(SEGMENTATIONS).filter((each) => each in reading.labels);
  const facts = [
    ["Place", place],
    ...read.map((kind) => [titleOf(kind), short(reading.values[kind])]),
    ...segmented.map((each) => [SEGMENTATIONS[each], name(reading.labels[each])]),
  ];
  const fact = ([term, value]) => make("div", {}, make("dt", {}, term), make("dd", {}, value));
  byId("reading").replaceChildren(...facts.map(fact));
}

const short = (value) => number(value, Math.abs(value) < 10 && !Number.isInteger(value) ? 2 : 0);

/** Brings the sliders in line with how grey values are shown. */
function tellWindow() {
  const { low, high, lowest, highest } = viewer.window;
  const set = (name, value, least, most) => {
    const input = byId(`slider-${name}`);
    [input.min, input.max, input.step] = [least, most, (most - least) / 200];
    input.value = value;
    input.setAttribute("aria-valuetext", short(value));
  };
  set("level", (low + high) / 2, lowest, highest);
  set("width", high - low, (highest - lowest) / 200, highest - lowest);
}
