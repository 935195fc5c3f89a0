// Volumes as they come from the server, and how their grey values are shown.

const SAMPLES = 200000;
const [DARKEST, BRIGHTEST] = [0.005, 0.997]; // of the foreground's grey values: what is first shown as black and white

/** A gzip stream opened, or bytes as they are. */
export async function unpacked(bytes) {
  const start = new Uint8Array(bytes, 0, 2);
  if (start[0] !== 0x1f || start[1] !== 0x8b) return bytes;
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Whether there is no graphics card. */
export function drawnBySoftware(gl) {
  const masked = gl.getParameter(gl.RENDERER);
  const facts = masked === "WebKit WebGL" ? gl.getExtension("WEBGL_debug_renderer_info") : null;
  const name = facts ? gl.getParameter(facts.UNMASKED_RENDERER_WEBGL) : masked;
  return /swiftshader|llvmpipe|software|basic render/i.test(name);
}

/** A voxel as the image means it. */
export const scaled = ({ hdr }, value) => (hdr.scl_slope ? value * hdr.scl_slope + hdr.scl_inter : value);

/** How grey values are first shown: by those of the foreground, which differs from the first voxel. */
export function greyWindow(volume) {
  const values = volume.img;
  const step = Math.max(1, Math.floor(values.length / (4 * SAMPLES)));
  const found = [];
  for (let index = 0; index < values.length; index += step) {
    if (values[index] !== values[0]) found.push(values[index]);
  }
  const sorted = Float64Array.from(found).sort();
  const at = (part) => scaled(volume, sorted.length ? sorted[Math.round(part * (sorted.length - 1))] : 0);
  const [low, high] = [at(DARKEST), Math.max(at(BRIGHTEST), at(DARKEST) + 1e-6)];
  const [lowest, highest] = [Math.min(low, scaled(volume, values[0]), at(0)), Math.max(at(1), high)];
  return { low, high, lowest, highest: Math.min(highest, high + 2 * (high - low)), first: [low, high] };
}
