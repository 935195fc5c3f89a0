// Speaks with the server: JSON, uploads with their progress, and what the server tells on its own.

const urlOf = (path) => new URL(`api/${path}`, document.baseURI).href;
const caseUrl = (id, rest = "") => `cases/${encodeURIComponent(id)}${rest}`;

/** What the server would not do, in its own words. */
export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

function refusal(status, text) {
  let detail = null;
  try {
    ({ detail } = JSON.parse(text));
  } catch {
    detail = null;
  }
  if (typeof detail === "string") return new Refusal(status, detail);
  return new Refusal(status, status ? `The server answered with status ${status}.` : "The server does not answer.");
}

async function call(method, path, body) {
  const settings = { method, headers: {} };
  if (body !== undefined) {
    settings.body = JSON.stringify(body);
    settings.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(urlOf(path), settings);
  } catch {
    throw refusal(0, "");
  }
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer.status, text);
  return text ? JSON.parse(text) : null;
}

/** Sends a file as it is; `onProgress` hears which fraction has gone, `signal` stops it. */
function send(method, path, file, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, urlOf(path));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText));
    };
    request.onerror = () => reject(refusal(0, ""));
    request.onabort = () => reject(new DOMException("", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

export const api = {
  about: () => call("GET", "about"),
  login: (token) => call("POST", "login", { token }),
  create: (networks) => call("POST", "cases", networks ? { networks } : {}),
  example: () => call("POST", "example"),
  get: (id) => call("GET", caseUrl(id)),
  erase: (id) => call("DELETE", caseUrl(id)),
  choose: (id, networks) => call("PATCH", caseUrl(id), { networks }),
  put: (id, file, settings) =>
    send("POST", caseUrl(id, `/files?name=${encodeURIComponent(file.name)}`), file, settings),
  putAs: (id, kind, file, settings) =>
    send("PUT", caseUrl(id, `/images/${kind}?name=${encodeURIComponent(file.name)}`), file, settings),
  setKind: (id, file, kind) => call("PATCH", caseUrl(id, `/files/${encodeURIComponent(file)}`), { kind }),
  remove: (id, file) => call("DELETE", caseUrl(id, `/files/${encodeURIComponent(file)}`)),
  start: (id) => call("POST", caseUrl(id, "/start"), {}),
  cancel: (id) => call("POST", caseUrl(id, "/cancel")),

  /** Address of a result, to look at or to save. */
  result: (id, name, { download } = { download: false }) =>
    urlOf(caseUrl(id, `/results/${name}?download=${download ? 1 : 0}`)),

  /** Bytes of a result. */
  async bytes(id, name) {
    const answer = await fetch(api.result(id, name));
    if (!answer.ok) throw refusal(answer.status, await answer.text());
    return answer.arrayBuffer();
  },

  /** Hears of every change of a case until `close()` of what it returns. */
  watch(id, { onCase, onGone, onLost }) {
    const source = new EventSource(urlOf(caseUrl(id, "/events")));
    source.addEventListener("case", (event) => onCase(JSON.parse(event.data)));
    source.addEventListener("gone", () => {
      source.close();
      onGone();
    });
    source.onerror = () => onLost(source.readyState === EventSource.CLOSED);
    return source;
  },
};
