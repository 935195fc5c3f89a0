"use strict";
// The viewer of a case. Volumes are in RAS order on the axes that NiiVue gets; where they lie in the patient stands in
// `affine`, so that no oblique grid is turned by the viewer.
(() => {
  const scene = JSON.parse(document.getElementById("viewer-scene").textContent);
  const form = document.getElementById("viewer-form");
  const stage = document.getElementById("viewer-stage");
  const place = document.getElementById("viewer-place");
  const canvas = stage.querySelector("canvas");
  const field = (name) => form.elements.namedItem(name);
  const chosen = (name) => new FormData(form).get(name);
  const AXES = { sagittal: 0, coronal: 1, axial: 2 };
  const PLANES = { axial: 0, coronal: 1, sagittal: 2, all: 3 };
  let nv = null;
  const greys = {};
  const labels = [];

  async function volume(base64, name, settings) {
    return niivue.NVImage.loadFromBase64({ base64, name: `${name}.nii.gz`, trustCalMinMax: true, ...settings });
  }

  async function grey(name) {
    const image = scene.images.find((each) => each.name === name);
    greys[name] ??= await volume(image.volume, name, { colormap: "gray", cal_min: 0, cal_max: scene.brightest });
    return greys[name];
  }

  // Voxels whose label is shown; of a surface, those beside which it ends.
  function shown(source, values, surface) {
    const [nx, ny, nz] = scene.shape;
    const kept = source.map((label) => (values.has(label) ? label : 0));
    if (!surface) return kept;
    const edge = new Uint8Array(kept.length);
    const steps = [[1, nx, 0], [nx, ny, 1], [nx * ny, nz, 2]].filter(([, size]) => size > 1);
    for (let index = 0; index < kept.length; index++) {
      const label = kept[index];
      if (label === 0) continue;
      const at = [index % nx, Math.floor(index / nx) % ny, Math.floor(index / (nx * ny))];
      for (const [step, size, axis] of steps) {
        const below = at[axis] > 0 ? kept[index - step] : 0;
        const above = at[axis] < size - 1 ? kept[index + step] : 0;
        if (below !== label || above !== label) {
          edge[index] = label;
          break;
        }
      }
    }
    return edge;
  }

  async function draw() {
    const base = await grey(chosen("image"));
    const values = new Set(new FormData(form).getAll("tissue").map(Number));
    for (const { image, source, name } of labels) {
      const way = chosen(name);
      image.img = way === "off" ? new Uint8Array(source.length) : shown(source, values, way === "outline");
      image.opacity = way === "outline" ? 0.95 : Number(field("opacity").value) / 100;
    }
    nv.overlays = labels.map(({ image }) => image);
    nv.volumes = [base, ...nv.overlays];
    nv.back = base;
    nv.updateGLVolume();
    // Labels as the voxels have them: between a colour and nothing there is nothing to interpolate but a dark fringe.
    nv.opts.isNearestInterpolation = true;
    nv.updateInterpolation(1);
    nv.opts.isNearestInterpolation = false;
    nv.drawScene();
    tell();
  }

  const voxel = () => scene.shape.map((size, axis) =>
    Math.min(size - 1, Math.max(0, Math.floor(nv.scene.crosshairPos[axis] * size))));

  function tell() {
    const at = voxel();
    const axis = AXES[chosen("plane")] ?? 2;
    const slice = field("slice");
    slice.max = String(scene.shape[axis] - 1);
    slice.value = String(at[axis]);
    slice.disabled = scene.shape[axis] === 1;
    const index = at[0] + scene.shape[0] * (at[1] + scene.shape[1] * at[2]);
    const texts = labels.map(({ name, source }) => {
      const tissue = scene.tissues.find(({ value }) => value === source[index]);
      return `${name}: ${tissue ? tissue.name : "none"}`;
    });
    const whole = at.map((each, direction) => each + scene.first[direction]);
    const mm = scene.affine.map((row) => row[3] + row[0] * whole[0] + row[1] * whole[1] + row[2] * whole[2]);
    const where = scene.placed ? `${mm.map((each) => each.toFixed(0)).join(", ")} mm (R, A, S)` : "";
    place.textContent = [`voxel ${whole.join(", ")}`, where, ...texts].filter(Boolean).join(" · ");
  }

  function cross(at) {
    nv.scene.crosshairPos = at.map((each, axis) => (each + 0.5) / scene.shape[axis]);
  }

  function turn() {
    nv.setSliceType(PLANES[chosen("plane")]);
    tell();
  }

  async function open() {
    if (!document.createElement("canvas").getContext("webgl2")) throw new Error("no WebGL2");
    nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [0.55, 0.6, 0.66, 1], crosshairWidth: 0.5, crosshairGap: 12,
      fontColor: [0.75, 0.78, 0.82, 1], isRadiologicalConvention: true, sagittalNoseLeft: true,
      isOrientationTextVisible: scene.placed, multiplanarShowRender: 0, multiplanarPadPixels: 6,
      clipPlaneColor: [0, 0, 0, 0], clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "",
      dragAndDropEnabled: false, dragMode: 3, isColorbar: false, showLegend: false, logLevel: "silent", loadingText: "",
    });
    nv.onLocationChange = tell;
    await nv.attachToCanvas(canvas);
    // A short table: in one of 256 entries, NiiVue 0.69.0 would take the background for label 2 (its issue 1139).
    const lut = { R: [0], G: [0], B: [0], A: [0] };
    for (let value = 1; value <= scene.largest; value++) {
      const colour = scene.tissues.find((tissue) => tissue.value === value)?.colour ?? [0, 0, 0];
      ["R", "G", "B"].forEach((channel, index) => lut[channel].push(colour[index]));
      lut.A.push(255);
    }
    for (const { name, volume: base64 } of scene.segmentations) {
      const image = await volume(base64, name, { cal_min: 0, cal_max: 255 });
      image.setColormapLabel(lut);
      labels.push({ name, image, source: Uint8Array.from(image.img) });
    }
    await draw();
    cross(scene.centre);
    turn();
    form.addEventListener("change", (event) => {
      if (event.target.name === "plane") turn();
      else if (event.target.name !== "slice") draw();
    });
    field("slice").addEventListener("input", (event) => {
      const at = voxel();
      at[AXES[chosen("plane")] ?? 2] = Number(event.target.value);
      cross(at);
      nv.drawScene();
      tell();
    });
    // The wheel scrolls the page until somebody has clicked into the picture.
    canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
    stage.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas) event.stopPropagation();
    }, { capture: true });
    form.dataset.state = "ready";
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  open().catch(() => {
    document.getElementById("viewer").hidden = true;
    document.getElementById("viewer-missing").hidden = false;
    form.dataset.state = "missing";
  });
})();
