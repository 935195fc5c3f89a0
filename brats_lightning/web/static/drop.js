// The first state: files are put, recognised and corrected, and the work is started.

import { api } from "./api.js";
import { byId, make, say, tick } from "./dom.js";
import { droppedFiles, each, sorted } from "./sending.js";
import { bytesText, inOrder, listed, regionTitle, shapeText, titleOf } from "./words.js";

const rows = new Map();
const sendings = new Map();
let app = null;

/** Wires the elements of this state; `app` gives `record`, `about`, `update(record)` and `fail(error)`. */
export function prepare(whole) {
  app = whole;
  const area = byId("drop-area");
  for (const name of ["choose-files", "choose-folder"]) {
    const input = byId(name);
    byId(`${name}-button`).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...input.files];
      input.value = "";
      take(files);
    });
  }
  // Anywhere on the page: who misses the area by a little must not lose the page to the browser's own view of the file.
  let inside = 0;
  const wanted = (event) => event.dataTransfer?.types.includes("Files") && !byId("drop").hidden;
  window.addEventListener("dragenter", (event) => {
    if (wanted(event)) area.classList.toggle("over", ++inside > 0);
  });
  window.addEventListener("dragleave", (event) => {
    if (wanted(event)) area.classList.toggle("over", --inside > 0);
  });
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", async (event) => {
    event.preventDefault();
    inside = 0;
    area.classList.remove("over");
    if (!byId("drop").hidden) await take(await droppedFiles(event.dataTransfer));
  });
  const onClick = (id, act) => byId(id).addEventListener("click", () => app.attempt(act));
  onClick("example-button", async () => {
    byId("example-button").disabled = true;
    say("The example is being made.");
    const wanted = chosenNetworks();
    try {
      app.enter(await api.example());
      if (wanted?.length) app.update(await api.choose(app.record.id, wanted));
      byId("start").focus(); // the button that was pressed is hidden now
      say(hint(app.record));
    } finally {
      byId("example-button").disabled = false;
    }
  });
  onClick("start", async () => {
    app.notice("");
    app.update(await api.start(app.record.id));
  });
}

async function take(files) {
  const { known, words } = sorted(files, { most: app.about.limits.files });
  app.notice(words);
  if (known.length === 0) return;
  await app.attempt(async () => {
    if (!app.record) app.enter(await api.create(chosenNetworks()));
    const { id } = app.record;
    for (const file of known) sendings.set(file, sending(file));
    show(app.record);
    await each(known, (file) => sendOne(id, file));
    if (app.record?.id !== id) return;
    app.update(await api.get(id)); // answers may have overtaken each other
    say(`${app.record.files.length} files. ${hint(app.record)}`);
  });
}

const quiet = (text, label) =>
  make("button", { type: "button", className: "quiet", "aria-label": label }, text);

/** A file on its way: its row with a progress bar, and what stops it. */
function sending(file) {
  const stop = new AbortController();
  const bar = make("progress", { max: 1, value: 0, "aria-label": `Sending ${file.name}` });
  const state = make("span", { className: "faint" }, bytesText(file.size));
  const button = quiet("Stop", `Stop sending ${file.name}`);
  button.addEventListener("click", () => {
    stop.abort();
    ended(file);
    byId("choose-files-button").focus();
  });
  const row = make("li", { className: "sending" }, make("b", { className: "name" }, file.name), bar, state, button);
  byId("sendings").append(row);
  return { stop, bar, state, row, button };
}

function ended(file) {
  sendings.get(file)?.row.remove();
  sendings.delete(file);
  show(app.record);
}

async function sendOne(id, file) {
  const one = sendings.get(file);
  if (!one) return; // stopped while it waited
  const onProgress = (fraction) => {
    one.bar.value = fraction;
    const sent = `${Math.round(100 * fraction)} % of ${bytesText(file.size)}`;
    one.state.textContent = fraction < 1 ? sent : "being checked …";
    if (fraction >= 1) one.bar.removeAttribute("value");
  };
  try {
    const record = await api.put(id, file, { onProgress, signal: one.stop.signal });
    app.update(record);
    ended(file);
  } catch (error) {
    if (error.name === "AbortError") return;
    one.row.className = "sending refused";
    one.bar.remove();
    const prefix = `${file.name}: `; // which the row says already
    const words = error.message.startsWith(prefix) ? error.message.slice(prefix.length) : error.message;
    one.state.textContent = words;
    one.button.textContent = "Dismiss";
    one.button.setAttribute("aria-label", `Dismiss ${file.name}`);
    one.refused = true;
    say(prefix + words);
    show(app.record);
  }
}

/** Files of another case stop being sent when that is left. */
export function forgetSendings() {
  for (const { stop, row } of sendings.values()) {
    stop.abort();
    row.remove();
  }
  sendings.clear();
}

const busy = () => [...sendings.values()].some(({ refused }) => !refused);

/** What is still to be done before it can start, in a sentence. */
function hint(record) {
  if (busy()) return "Files are being sent.";
  if (!record || record.files.length === 0) return "";
  if (record.missing.length) {
    const names = listed(record.missing.map(titleOf));
    const loose = record.files.some(({ kind }) => kind === null);
    const cure = loose ? "Say above what the other files are." : "Add it, or choose above which file it is.";
    return `Missing: ${names}. ${cure}`;
  }
  return "All that is needed is here.";
}

/** Shows a case, or the empty page. */
export function show(record) {
  const { about } = app;
  const files = record?.files ?? [];
  byId("drop-area").classList.toggle("small", files.length + sendings.size > 0);
  byId("example-area").hidden = !about.example || files.length + sendings.size > 0;
  byId("files-area").hidden = files.length + sendings.size === 0;
  showKinds(record);
  showFiles(record, files);
  showNetworks(record);
  byId("drop-notes").replaceChildren(...(record?.notes ?? []).map((note) => make("li", {}, note)));
  byId("drop-hint").textContent = hint(record);
  byId("drop-hint").className = record?.missing.length && !busy() ? "missing" : "";
  byId("start").disabled = !record || files.length === 0 || record.missing.length > 0 || busy();
  const ended = { failed: record?.error ?? "It could not be done.", cancelled: "Cancelled. The files are still here." };
  byId("drop-error").textContent = ended[record?.state] ?? "";
  byId("drop-error").hidden = !ended[record?.state];
}

const needed = (record) => {
  const networks = app.about.networks.filter(({ name }) => !record || record.networks.includes(name));
  return record?.needs.length ? record.needs : [...new Set(networks.flatMap(({ modalities }) => modalities))];
};

/** A sign for each modality that is needed, and whether it is there. */
function showKinds(record) {
  const have = new Set(record?.files.map(({ kind }) => kind));
  byId("kinds").replaceChildren(...needed(record).map((kind) => {
    const there = have.has(kind);
    const words = make("span", { className: "unseen" }, there ? "is there" : "is missing");
    const sign = make("span", { "aria-hidden": "true" }, there ? "✓ " : "");
    return make("li", { className: there ? "there" : "" }, sign, `${titleOf(kind)} `, words);
  }));
}

function showFiles(record, files) {
  const list = byId("files");
  for (const [id, row] of rows) {
    if (!files.some((file) => file.id === id)) {
      row.remove();
      rows.delete(id);
    }
  }
  for (const file of files) {
    if (!rows.has(file.id)) rows.set(file.id, list.appendChild(fileRow(record, file)));
    const row = rows.get(file.id);
    row.querySelector("select").value = file.kind ?? "";
    row.classList.toggle("loose", file.kind === null);
  }
}

function fileRow(record, file) {
  const options = [...needed(record), "seg"].map((kind) => make("option", { value: kind }, titleOf(kind)));
  options.unshift(make("option", { value: "" }, "Not used"));
  const select = make("select", { "aria-label": `What ${file.name} is` }, ...options);
  select.addEventListener("change", () =>
    app.attempt(async () => {
      app.update(await api.setKind(record.id, file.id, select.value || null));
      say(hint(app.record));
    }));
  const remove = quiet("Remove", `Remove ${file.name}`);
  remove.addEventListener("click", () => app.attempt(async () => {
    app.update(await api.remove(record.id, file.id));
    byId("choose-files-button").focus();
    say(`${file.name} is removed. ${hint(app.record)}`);
  }));
  const facts = make("span", { className: "faint" }, `${shapeText(file)} · ${bytesText(file.bytes)}`);
  const name = make("b", { className: "name" }, file.name);
  return make("li", { className: "file" }, make("div", {}, name, facts), select, remove);
}

const chosenNetworks = () =>
  app.about.networks.length > 1
    ? [...document.querySelectorAll('#networks [name="network"]:checked')].map(({ value }) => value)
    : undefined;

async function choose() {
  const networks = chosenNetworks();
  if (networks.length === 0) show(app.record);
  else if (app.record) app.update(await api.choose(app.record.id, networks));
  else show(null);
}

/** Several networks may work together; at least one must. */
function showNetworks(record) {
  const { networks } = app.about;
  byId("networks-area").hidden = networks.length < 2;
  if (networks.length < 2) return;
  const chosen = record?.networks ?? networks.slice(0, 1).map(({ name }) => name);
  const list = byId("networks");
  if (list.children.length === 0) {
    const onTick = () => app.attempt(choose);
    for (const { name, regions, slices } of networks) {
      const words = `${name} (${inOrder(regions).map(regionTitle).join(", ")}${slices ? "; single slices" : ""})`;
      list.append(tick("network", words, { value: name, checked: false, onTick }));
    }
  } else if (!record && chosenNetworks().length) return;
  for (const box of list.querySelectorAll("input")) box.checked = chosen.includes(box.value);
}
