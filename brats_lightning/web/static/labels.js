// Which voxels of a segmentation are drawn.

/**
 * Voxels whose label is shown; of an outline, those beside which it ends along one of `axes`.
 *
 * @param source Labels, the first axis running fastest.
 * @param shape Voxels along x, y and z.
 * @param values Set of the labels to show.
 * @param axes Along which an outline is looked for: in a single plane those of the plane; empty for filled areas.
 */
export function shown(source, shape, values, axes) {
  const keep = new Uint8Array(256);
  for (const value of values) keep[value] = value;
  const kept = source.map((label) => keep[label]);
  const [nx, ny, nz] = shape;
  const [alongX, alongY, alongZ] = [0, 1, 2].map((axis) => axes.includes(axis) && shape[axis] > 1);
  if (!alongX && !alongY && !alongZ) return kept;
  const edge = new Uint8Array(kept.length);
  const plane = nx * ny;
  let index = 0;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      for (let x = 0; x < nx; x++, index++) {
        const label = kept[index];
        if (label === 0) continue;
        const ends =
          (alongX && ((x > 0 ? kept[index - 1] : 0) !== label || (x < nx - 1 ? kept[index + 1] : 0) !== label)) ||
          (alongY && ((y > 0 ? kept[index - nx] : 0) !== label || (y < ny - 1 ? kept[index + nx] : 0) !== label)) ||
          (alongZ &&
            ((z > 0 ? kept[index - plane] : 0) !== label || (z < nz - 1 ? kept[index + plane] : 0) !== label));
        if (ends) edge[index] = label;
      }
    }
  }
  return edge;
}

/** A short table of colours: of 256 entries NiiVue 0.69.0 would take the background for label 2 (its issue 1139). */
export function colourTable(entries) {
  const table = { R: [0], G: [0], B: [0], A: [0] };
  const largest = Math.max(0, ...entries.map(({ value }) => value));
  for (let value = 1; value <= largest; value++) {
    const colour = entries.find((entry) => entry.value === value)?.colour ?? "#000000";
    ["R", "G", "B"].forEach((channel, place) => {
      table[channel].push(parseInt(colour.slice(1 + 2 * place, 3 + 2 * place), 16));
    });
    table.A.push(255);
  }
  return table;
}
