// The second state: the case waits or is being worked on.

import { api } from "./api.js";
import { byId, say } from "./dom.js";
import { timeText } from "./words.js";

let said = "";

export function prepare(app) {
  byId("cancel").addEventListener("click", () => app.attempt(async () => {
    byId("cancel").disabled = true;
    app.update(await api.cancel(app.record.id));
  }));
}

function stageOf(record) {
  if (record.state === "queued") {
    if (record.position === null) return "Waiting";
    return record.position > 1 ? `Waiting: number ${record.position} in the queue` : "Waiting: next in the queue";
  }
  return record.stage || "Starting";
}

export function show(record) {
  const stage = stageOf(record);
  const percent = Math.round(record.percent);
  const bar = byId("run-bar");
  if (record.state === "queued") bar.removeAttribute("value");
  else bar.value = percent;
  byId("run-stage").textContent = stage;
  byId("run-percent").textContent = record.state === "queued" ? "" : `${percent} %`;
  const end = timeText(record.expires);
  byId("run-keeps").textContent =
    `You may close this page: its address, or the list on the first page, brings you back until ${end}.`;
  byId("cancel").disabled = false;
  document.title = record.state === "queued" ? `Waiting · ${record.name}` : `${percent} % · ${record.name}`;
  if (stage !== said) say(stage);
  said = stage;
}

/** Whether the server can be heard at the moment. */
export function heard(yes) {
  byId("run-lost").hidden = yes;
}
