// Files that a user drops or chooses, on their way to the server.

const KNOWN = /\.(nii|nii\.gz|zip|png|jpe?g|mat)$/i;
const AT_ONCE = 2;

/** All files of a drop, those in folders included. */
export async function droppedFiles(transfer) {
  // All at once: after the first wait the browser has emptied the list.
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const dropped = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const found = [];
  for (const { entry, file } of dropped) {
    if (entry) await collect(entry, found);
    else if (file) found.push(file);
  }
  return found;
}

async function collect(entry, found) {
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => { entry.file(resolve, reject); }));
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (some.length === 0) return;
    for (const each of some) await collect(each, found);
  }
}

/** Files that the server can read, and what to say of the others. */
export function sorted(files, { most }) {
  const seen = files.filter(({ name }) => !name.startsWith("."));
  const known = seen.filter(({ name }) => KNOWN.test(name));
  const others = seen.filter(({ name }) => !KNOWN.test(name)).map(({ name }) => name);
  if (known.length > most) {
    const words = `${known.length} files are more than the ${most} of one case: choose those of one patient.`;
    return { known: [], words };
  }
  if (others.length === 0) return { known, words: "" };
  const dicom = others.some((name) => /\.(dcm|ima)$/i.test(name) || !name.includes("."));
  const some = `${others.slice(0, 3).join(", ")}${others.length > 3 ? ", …" : ""}`;
  const cure = dicom ? " DICOM files have to be converted first, for example with dcm2niix." : "";
  const words = known.length ? "Left out, as they are no images" : "These are no NIfTI, PNG, JPEG, MAT or zip files";
  return { known, words: `${words}: ${some}.${cure}` };
}

/** Calls `act` for each of the items, a few at a time. */
export async function each(items, act) {
  const waiting = [...items];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (waiting.length) await act(waiting.shift());
  }));
}
