/* global niivue */
// The picture of a case, drawn by NiiVue 0.69.0. Volumes are in RAS order on the axes that NiiVue gets; where they lie
// in the patient stands in `view.affine`, so that no oblique grid is turned.

import { colourTable, shown } from "./labels.js";
import { drawnBySoftware, greyWindow, scaled, unpacked } from "./volumes.js";

const TYPES = { axial: 0, coronal: 1, sagittal: 2, all: 3, "3-D": 4 };
const ACROSS = { axial: 2, coronal: 1, sagittal: 0 };
const SHOW_RENDER = { never: 0, always: 1 };
const CROSSHAIR_MM = 1; // a line of less than a pixel may fall between two of them and be missing
const DRAG = { none: 0, pan: 3, crosshair: 8 };

/** Thrown where a volume has come for a case that has been left. */
export class AnotherCase extends Error {}

export class Viewer {
  /** Whether this browser can draw it. */
  static possible() {
    const context = document.createElement("canvas").getContext("webgl2");
    context?.getExtension("WEBGL_lose_context")?.loseContext();
    return context !== null && typeof niivue !== "undefined";
  }

  #canvas;
  #nv = null;
  #load = null;
  #images = new Map();
  #layers = new Map();
  #settings = null;
  #turn = 0;
  #waiting = null;

  /** `onMove` is called when the crosshair has moved, `onWindow` when grey values are shown in another way. */
  constructor(canvas, { onMove, onWindow }) {
    this.#canvas = canvas;
    this.onMove = onMove;
    this.onWindow = onWindow;
  }

  /** Begins a case; `load` gives the bytes of a volume by its name. */
  async open(view, load) {
    this.view = view;
    this.#load = load;
    this.#images.clear();
    this.#layers.clear();
    this.#settings = null;
    if (this.#nv) return;
    const nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [0.55, 0.6, 0.66, 1], crosshairGap: 12,
      crosshairWidth: CROSSHAIR_MM, crosshairWidthUnit: "mm",
      fontColor: [0.75, 0.78, 0.82, 1], isRadiologicalConvention: true, sagittalNoseLeft: true,
      multiplanarShowRender: SHOW_RENDER.always, multiplanarPadPixels: 6, clipPlaneColor: [0, 0, 0, 0],
      clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "", dragAndDropEnabled: false,
      dragMode: DRAG.none, isColorbar: false, showLegend: false, logLevel: "silent", loadingText: "",
      mouseEventConfig: {
        leftButton: { primary: DRAG.crosshair, withShift: DRAG.pan }, rightButton: DRAG.none, centerButton: DRAG.pan,
      },
    });
    nv.onLocationChange = () => this.onMove();
    nv.resetBriCon = () => this.reset(); // a double click
    await nv.attachToCanvas(this.#canvas);
    // Without a graphics card, as on many remote desktops, a picture in 3-D takes seconds: who asks for it gets it.
    if (drawnBySoftware(nv.gl)) nv.opts.multiplanarShowRender = SHOW_RENDER.never;
    this.#nv = nv;
  }

  /** Lets go of a case: nothing of it stays in view or in memory. */
  close() {
    this.#turn++;
    this.view = null;
    this.#load = null;
    this.#settings = null;
    this.#images.clear();
    this.#layers.clear();
    if (!this.#nv) return;
    this.#nv.volumes = [];
    this.#nv.overlays = [];
    this.#nv.back = null;
    this.#nv.updateGLVolume();
  }

  async #volume(name, settings) {
    const bytes = await unpacked(await this.#load(name));
    return niivue.NVImage.loadFromUrl({ url: bytes, name: `${name}.nii`, trustCalMinMax: true, ...settings });
  }

  /** Loads an image of the case, once. */
  async image(name) {
    if (!this.#images.has(name)) {
      const load = this.#load;
      const volume = await this.#volume(name, { colormap: "gray" });
      if (load !== this.#load) throw new AnotherCase();
      const grey = { volume, ...greyWindow(volume) };
      [volume.cal_min, volume.cal_max] = grey.first;
      this.#images.set(name, grey);
    }
    return this.#images.get(name);
  }

  async #layer(name, heat) {
    if (!this.#layers.has(name)) {
      const load = this.#load;
      const settings = heat ? { colormap: "inferno" } : { cal_min: 0, cal_max: 255 };
      const volume = await this.#volume(name, settings);
      if (load !== this.#load) throw new AnotherCase();
      if (heat) [volume.cal_min, volume.cal_max] = [0.04 * volume.global_max, volume.global_max];
      this.#layers.set(name, { volume, source: heat ? null : Uint8Array.from(volume.img) });
    }
    return this.#layers.get(name);
  }

  /** Forgets volumes that have changed on the server. */
  forget(names) {
    for (const name of names) this.#layers.delete(name);
  }

  /**
   * Draws.
   *
   * @param settings `image`; `plane`; `opacity` of filled areas, up to 1; `layers`, each with its `name`, the `colours`
   *   of its values, the set of `values` to show and whether as `outline`; `heat`, a volume in colours, or null.
   */
  async show(settings) {
    const turn = ++this.#turn;
    const { volume } = await this.image(settings.image);
    const heat = settings.heat ? await this.#layer(settings.heat, true) : null;
    const layers = await Promise.all(settings.layers.map(({ name }) => this.#layer(name, false)));
    if (turn !== this.#turn) return; // something else is to be shown by now
    const first = this.#settings === null;
    this.#settings = settings;
    const axes = [0, 1, 2].filter((axis) => axis !== ACROSS[settings.plane]);
    settings.layers.forEach(({ colours, values, outline }, index) => {
      const layer = layers[index];
      layer.volume.setColormapLabel(colourTable(colours));
      layer.volume.img = shown(layer.source, this.view.shape, values, outline ? axes : []);
      layer.volume.opacity = outline ? 0.95 : settings.opacity;
    });
    if (heat) heat.volume.opacity = settings.opacity;
    const nv = this.#nv;
    nv.opts.isOrientationTextVisible = this.view.placed;
    nv.overlays = [...(heat ? [heat.volume] : []), ...layers.map((layer) => layer.volume)];
    nv.volumes = [volume, ...nv.overlays];
    nv.back = volume;
    nv.updateGLVolume();
    // Labels as the voxels have them: between a colour and nothing there is nothing to interpolate but a dark fringe.
    nv.opts.isNearestInterpolation = true;
    nv.updateInterpolation(1);
    nv.opts.isNearestInterpolation = false;
    if (first) {
      this.#stand();
    }
    nv.opts.isOrientCube = this.view.placed && settings.plane === "3-D";
    nv.setSliceType(TYPES[settings.plane]);
    this.onMove();
    this.onWindow();
  }

  /** Voxel of the crosshair. */
  get voxel() {
    return this.view.shape.map((size, axis) =>
      Math.min(size - 1, Math.max(0, Math.floor(this.#nv.scene.crosshairPos[axis] * size))));
  }

  moveTo(voxel) {
    const { shape } = this.view;
    const inside = voxel.map((each, axis) => Math.min(shape[axis] - 1, Math.max(0, each)));
    this.#nv.scene.crosshairPos = inside.map((each, axis) => (each + 0.5) / shape[axis]);
    this.redraw();
    this.onMove();
  }

  /** Goes so many voxels along an axis. */
  step(axis, by) {
    this.moveTo(this.voxel.map((each, direction) => each + (direction === axis ? by : 0)));
  }

  #onCanvas(x, y) {
    const box = this.#canvas.getBoundingClientRect();
    const ratio = this.#nv.uiData.dpr;
    return [(x - box.left) * ratio, (y - box.top) * ratio];
  }

  /** Moves the crosshair to a point of the screen, where there is a plane. */
  moveToPoint(x, y) {
    const place = this.#nv.canvasPos2frac(this.#onCanvas(x, y));
    if (!(place[0] >= 0)) return;
    this.moveTo(this.view.shape.map((size, axis) => Math.floor(place[axis] * size)));
  }

  /** Plane at a point of the screen, or null where there is none. */
  planeAt(x, y) {
    const tile = this.#nv.tileIndex(...this.#onCanvas(x, y));
    const type = this.#nv.screenSlices[tile]?.axCorSag;
    return Object.keys(TYPES).find((plane) => TYPES[plane] === type) ?? null;
  }

  /** Axis across a plane; of three planes together, that of the axial one. */
  static axisOf(plane) {
    return ACROSS[plane] ?? 2;
  }

  get settings() {
    return this.#settings;
  }

  /** Draws once before the next picture of the screen, however often it is asked. */
  redraw() {
    this.#waiting ??= requestAnimationFrame(() => {
      this.#waiting = null;
      this.#nv.drawScene();
    });
  }

  /** How the grey values of the image in view are shown: `low` is black, `high` is white. */
  get window() {
    return this.#images.get(this.#settings.image);
  }

  setWindow(low, high) {
    const { window } = this;
    window.low = low;
    window.high = Math.max(high, low + (window.highest - window.lowest) / 1000);
    [window.volume.cal_min, window.volume.cal_max] = [window.low, window.high];
    this.#nv.refreshLayers(window.volume, 0);
    this.redraw();
    this.onWindow();
  }

  zoom(factor, plane = this.#settings.plane) {
    const nv = this.#nv;
    if (plane === "3-D") {
      nv.setScale(Math.min(4, Math.max(0.5, nv.scene.volScaleMultiplier * factor)));
      return;
    }
    const old = nv.scene.pan2Dxyzmm;
    const next = Math.min(12, Math.max(1, old[3] * factor));
    const centre = nv.frac2mm(nv.scene.crosshairPos);
    // What lies under the crosshair stays where it is; unmagnified, the whole slice is in the middle again.
    const pan = [0, 1, 2].map((axis) => (next === 1 ? 0 : old[axis] + (old[3] - next) * centre[axis]));
    nv.scene.pan2Dxyzmm = [...pan, next];
    nv.opts.crosshairWidth = CROSSHAIR_MM / next;
    this.redraw();
  }

  /** Turns the picture in 3-D by so many degrees. */
  rotate(across, up) {
    const { renderAzimuth, renderElevation } = this.#nv.scene;
    this.#nv.setRenderAzimuthElevation(renderAzimuth + across, Math.min(90, Math.max(-90, renderElevation + up)));
  }

  /** Grey values, place and magnification as in the beginning. */
  reset() {
    const { first } = this.window;
    this.setWindow(...first);
    this.#stand();
  }

  /** Place and magnification in the beginning; in 3-D from the front, with the right on the left as in planes. */
  #stand() {
    this.#nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.#nv.opts.crosshairWidth = CROSSHAIR_MM;
    this.#nv.scene.volScaleMultiplier = 1.5;
    this.#nv.setRenderAzimuthElevation(200, 15);
    this.moveTo(this.view.centre);
  }

  /** What is under the crosshair: voxel, place in mm, values by image and labels by layer of all that is loaded. */
  get reading() {
    const { shape, affine } = this.view;
    const voxel = this.voxel;
    const index = voxel[0] + shape[0] * (voxel[1] + shape[1] * voxel[2]);
    const mm = affine.map((row) => row[3] + row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2]);
    const values = {};
    for (const [name, { volume }] of this.#images) values[name] = scaled(volume, volume.img[index]);
    const labels = {};
    for (const [name, { source }] of this.#layers) if (source) labels[name] = source[index];
    return { voxel, mm, values, labels };
  }
}
