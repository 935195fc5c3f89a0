// Mouse, fingers and keys on the picture, as viewers in radiology have them.

import { Viewer } from "./viewer.js";

const PIXELS_A_SLICE = 40; // of a touchpad, which sends many small turns of the wheel
const MOST = 5;
const FINGER_TREMBLES = 6; // pixels

/** Lets the stage's mouse, fingers and keys move the viewer; `commands` maps further keys to functions. */
export function listen(stage, viewer, commands) {
  wheel(stage, viewer);
  rightDrag(stage, viewer);
  fingers(stage, viewer);
  keys(stage, viewer, commands);
}

function wheel(stage, viewer) {
  let turned = 0;
  stage.addEventListener("wheel", (event) => {
    event.stopPropagation();
    if (!viewer.settings) return;
    event.preventDefault();
    const plane = viewer.planeAt(event.clientX, event.clientY) ?? viewer.settings.plane;
    if (event.ctrlKey || plane === "3-D") {
      viewer.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) / 500), plane);
      return;
    }
    const pixels = event.deltaMode === 0 ? event.deltaY : event.deltaY * PIXELS_A_SLICE;
    // A notch of a mouse's wheel is one slice, however many pixels a browser takes it for.
    turned += Math.abs(pixels) >= PIXELS_A_SLICE ? Math.sign(pixels) * PIXELS_A_SLICE : pixels;
    const slices = Math.trunc(turned / PIXELS_A_SLICE);
    if (!slices) return;
    turned -= slices * PIXELS_A_SLICE;
    viewer.step(Viewer.axisOf(plane), -Math.max(-MOST, Math.min(MOST, slices)));
  }, { capture: true, passive: false });
}

/** Dragging with the right button: across for the window's width, down for its level. */
function rightDrag(stage, viewer) {
  let last = null;
  stage.addEventListener("mousedown", (event) => {
    if (event.button !== 2 || !viewer.settings || viewer.settings.plane === "3-D") return;
    event.stopPropagation();
    event.preventDefault();
    stage.querySelector("canvas").focus({ preventScroll: true });
    last = event;
  }, { capture: true });
  window.addEventListener("mousemove", (event) => {
    if (!last) return;
    const { low, high, highest, lowest } = viewer.window;
    const step = (highest - lowest) / 500;
    const [width, level] = [(event.clientX - last.clientX) * step, (event.clientY - last.clientY) * step];
    viewer.setWindow(low + level - width / 2, high + level + width / 2);
    last = event;
  });
  window.addEventListener("mouseup", () => { last = null; });
}

/** One finger moves the crosshair, two magnify; in 3-D NiiVue turns the picture with one. */
function fingers(stage, viewer) {
  let apart = 0;
  let first = null; // where a finger that is alone has begun
  let moved = false;
  const distance = ({ touches: [one, other] }) =>
    Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
  const begin = (event) => {
    const [one] = event.touches;
    const alone = event.touches.length === 1;
    first = alone && viewer.settings && viewer.planeAt(one.clientX, one.clientY) !== "3-D" ? one : null;
    moved = false;
    return first !== null || !alone;
  };
  const follow = (event) => {
    const [one] = event.touches;
    if (event.touches.length > 1) {
      if (apart && viewer.settings) viewer.zoom(distance(event) / apart);
      return true;
    }
    if (first === null) return false;
    moved ||= Math.hypot(one.clientX - first.clientX, one.clientY - first.clientY) > FINGER_TREMBLES;
    if (moved) viewer.moveToPoint(one.clientX, one.clientY);
    return true;
  };
  const end = () => {
    if (first === null) return false;
    if (!moved) viewer.moveToPoint(first.clientX, first.clientY);
    first = null;
    return true;
  };
  for (const [type, act] of Object.entries({ touchstart: begin, touchmove: follow, touchend: end })) {
    stage.addEventListener(type, (event) => {
      const own = act(event);
      apart = event.touches.length > 1 ? distance(event) : 0;
      if (!own) return;
      event.stopPropagation();
      event.preventDefault();
    }, { capture: true, passive: false });
  }
}

function keys(stage, viewer, commands) {
  const moves = {
    ArrowUp: (axis) => viewer.step(axis, 1),
    ArrowDown: (axis) => viewer.step(axis, -1),
    PageUp: (axis) => viewer.step(axis, 10),
    PageDown: (axis) => viewer.step(axis, -10),
    "+": () => viewer.zoom(1.25),
    "=": () => viewer.zoom(1.25),
    "-": () => viewer.zoom(0.8),
    r: () => viewer.reset(),
  };
  const turns = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
  const aside = { ArrowLeft: [1, 1], ArrowRight: [1, -1], ArrowUp: [2, 1], ArrowDown: [2, -1] };
  stage.addEventListener("keydown", (event) => {
    event.stopPropagation(); // NiiVue has keys of its own
    if (event.ctrlKey || event.altKey || event.metaKey || !viewer.settings) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const axis = Viewer.axisOf(viewer.settings.plane);
    const inPlane = [0, 1, 2].filter((each) => each !== axis);
    if (viewer.settings.plane === "3-D" && turns[key]) viewer.rotate(...turns[key]);
    else if ((event.shiftKey || key === "ArrowLeft" || key === "ArrowRight") && aside[key]) {
      const [direction, by] = aside[key];
      viewer.step(inPlane[direction - 1], by);
    } else if (moves[key]) moves[key](axis);
    else if (commands[key]) commands[key]();
    else return;
    event.preventDefault();
  }, { capture: true });
  stage.addEventListener("keyup", (event) => event.stopPropagation(), { capture: true });
}
