// How things are called and how numbers are written.

export const TITLES = { t1n: "T1", t1c: "T1 contrast", t2w: "T2", t2f: "FLAIR", seg: "Reference segmentation" };
export const SEGMENTATIONS = { prediction: "Result", reference: "Reference" };
export const REGIONS = {
  WT: "Whole tumour", TC: "Tumour core", ET: "Enhancing tumour", ED: "Oedema", NCR: "Necrotic core",
  RC: "Resection cavity", CC: "Cyst",
};
const ORDER = Object.keys(REGIONS);

export const titleOf = (kind) => TITLES[kind] ?? kind;
export const regionTitle = (name) => REGIONS[name] ?? name;

/** Regions from the outermost inwards; those of own names last. */
export function inOrder(regions) {
  const rank = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...regions].sort((one, other) => rank(one) - rank(other));
}

export const listed = (names) =>
  names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;

export function bytesText(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export function shapeText(file) {
  const shape = file.shape.join(" × ");
  const known = file.spacing_mm.length > 0 && file.spacing_mm.some((each) => each > 0);
  const spacing = file.spacing_mm.map((each) => Number(each.toFixed(2))).join(" × ");
  return known ? `${shape} voxels of ${spacing} mm` : `${shape} ${file.shape.length > 2 ? "voxels" : "pixels"}`;
}

/** A number, or a dash where there is none. */
export const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

/** A moment as a clock shows it, with the day where it is not today. */
export function timeText(seconds) {
  const when = new Date(seconds * 1000);
  const clock = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const [day, today] = [when, new Date()].map((each) => new Date(each).setHours(12, 0, 0, 0));
  const days = Math.round((day - today) / 864e5); // summer time makes a day an hour longer or shorter
  if (Math.abs(days) > 1) return `${clock} on ${when.toLocaleDateString([], { day: "numeric", month: "long" })}`;
  return `${clock}${["", " tomorrow", " yesterday"].at(days)}`;
}

export function spanText(minutes) {
  if (minutes < 120) return `${Math.round(minutes)} minutes`;
  return `${Number((minutes / 60).toFixed(1))} hours`;
}

/** Where a point lies in the patient: the letter says to which side of the scanner's middle. */
export function placeText(mm) {
  const letters = [["R", "L"], ["A", "P"], ["S", "I"]];
  return `${mm.map((each, axis) => `${letters[axis][each < 0 ? 1 : 0]} ${Math.abs(each).toFixed(1)}`).join("  ")} mm`;
}
