// The page: which case is open, in which of its states, and what the server says of it.

import { api } from "./api.js";
import { byId, make, say } from "./dom.js";
import * as drop from "./drop.js";
import * as look from "./look.js";
import { forget, recent, remember } from "./recent.js";
import * as run from "./run.js";
import { spanText, timeText } from "./words.js";

const SCREENS = { collecting: "drop", failed: "drop", cancelled: "drop", queued: "run", running: "run", done: "look" };
const STATES = { collecting: "files are put", queued: "waiting" }; // the others are called as they are
const STEPS = { drop: "step-drop", run: "step-run", look: "step-look" };
const TITLE = document.title;

const app = {
  about: null,
  record: null,
  source: null,

  /** Opens a case that was just made. */
  enter(record) {
    history.pushState(null, "", `#${record.id}`);
    app.update(record);
  },

  /** Takes what the server says of the open case. */
  update(record) {
    const before = app.record;
    if (before && before.id !== record.id) look.clear();
    app.record = record;
    remember(record);
    showScreen(SCREENS[record.state]);
    const live = ["queued", "running"].includes(record.state) || record.working.length > 0;
    if (live && !app.source) watch(record.id);
    if (!live) unwatch();
  },

  /** Leaves a case that is no more. */
  leave(id, sentence, how) {
    forget(id);
    if (app.record?.id === id) {
      unwatch();
      app.record = null;
      look.clear();
      history.replaceState(null, "", location.pathname);
      showScreen("drop");
      showRecent();
    }
    app.notice(sentence, how);
  },

  /** Tells what has gone wrong or, where it is good, what has been done. */
  notice(sentence, { good } = { good: false }) {
    byId("notice").hidden = !sentence;
    byId("notice").classList.toggle("good", good);
    byId("notice-words").textContent = sentence;
  },

  /** Does something; if it fails, the page says why. */
  async attempt(act) {
    try {
      await act();
    } catch (error) {
      if (error.status === 401) showLogin();
      else if (error.status === 404 && app.record) app.leave(app.record.id, error.message);
      else app.notice(error.message);
      if (error.status === undefined) console.error(error);
    }
  },
};

/** Hears of the case while something is being done for it; a connection held for nothing would keep others out. */
function watch(id) {
  app.source = api.watch(id, {
    onCase: (record) => {
      run.heard(true);
      if (app.record?.id === record.id) app.update(record);
    },
    onGone: () => app.leave(id, "This case has been erased.", { good: true }),
    onLost: (closed) => {
      run.heard(false);
      if (!closed) return; // the browser tries again by itself
      unwatch();
      setTimeout(() => app.record?.id === id && app.attempt(async () => app.update(await api.get(id))), 2000);
    },
  });
}

function unwatch() {
  app.source?.close();
  app.source = null;
}

function showScreen(name) {
  const { record } = app;
  const main = byId("main");
  const changed = main.dataset.screen !== name;
  main.dataset.screen = name;
  for (const each of ["login", "drop", "run", "look"]) byId(each).hidden = each !== name;
  for (const [screen, id] of Object.entries(STEPS)) {
    const current = screen === name;
    byId(id).toggleAttribute("aria-current", current);
    if (current) byId(id).setAttribute("aria-current", "step");
  }
  byId("recent-area").hidden = name !== "drop" || record !== null || byId("recent").children.length === 0;
  byId("case-name").textContent = record?.name ?? "";
  byId("example-sign").hidden = !record?.example;
  byId("new-case").hidden = record === null;
  document.title = record?.name ? `${record.name} · ${TITLE}` : TITLE;
  if (name === "login") return;
  const screens = { drop, run, look };
  screens[name].show(record);
  if (changed && document.body.dataset.ready === "yes") {
    const heading = byId(name).querySelector("h1");
    heading.focus({ preventScroll: true });
    scrollTo({ top: 0 });
    say(heading.textContent);
  }
}

/** Cases of this browser that are still on the server. */
async function showRecent() {
  const found = (await Promise.all(recent().map((id) => api.get(id).catch((error) => {
    if (error.status === 404) forget(id);
    return null;
  })))).filter(Boolean);
  const facts = ({ state, created, expires }) =>
    `${STATES[state] ?? state}, opened at ${timeText(created)}, kept until ${timeText(expires)}`;
  byId("recent").replaceChildren(...found.map((each) => make("li", {},
    make("a", { href: `#${each.id}` }, each.name || "Case without a name"),
    make("span", { className: "faint" }, facts(each)))));
  byId("recent-area").hidden = found.length === 0 || app.record !== null || byId("drop").hidden;
}

function showLogin() {
  unwatch();
  look.clear();
  byId("login-error").textContent = "";
  showScreen("login");
  byId("token").focus();
}

/** Opens what the address names: a case, or the empty page. */
async function open() {
  const id = location.hash.slice(1);
  if (app.record?.id === id) return;
  unwatch();
  look.clear();
  app.record = null;
  app.notice("");
  drop.forgetSendings();
  if (id) {
    try {
      app.update(await api.get(id));
    } catch (error) {
      if (error.status === 401) throw error;
      if (error.status === 404) app.leave(id, error.message);
      else app.notice(error.message);
      history.replaceState(null, "", location.pathname);
    }
  }
  if (!app.record) {
    showScreen("drop");
    await showRecent();
  }
}

function showAbout() {
  const { about } = app;
  byId("disclaimer").textContent = about.disclaimer;
  byId("version").textContent = `brats ${about.version}`;
  const span = spanText(about.limits.keep_minutes);
  byId("keeps").textContent = `Files go to ${location.host} and nowhere else, and are erased there after ${span}.`;
  const slices = about.networks.some((network) => network.slices);
  const volumes = about.networks.some((network) => !network.slices);
  const kinds = [volumes && ".nii, .nii.gz or a .zip of them", slices && "PNG, JPEG, .mat or a slice as NIfTI"];
  byId("formats").textContent = kinds.filter(Boolean).join("; for single slices ");
}

async function begin() {
  const secret = /^#token=(.+)$/.exec(location.hash);
  if (secret) {
    history.replaceState(null, "", location.pathname);
    await api.login(decodeURIComponent(secret[1]));
  }
  app.about = await api.about();
  showAbout();
  await open();
  document.body.dataset.ready = "yes";
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await api.login(byId("token").value.trim());
  } catch (error) {
    byId("login-error").textContent = error.message;
    byId("token").select();
    return;
  }
  byId("token").value = "";
  await app.attempt(begin);
  document.querySelector("main > section:not([hidden]) h1[tabindex]")?.focus();
});
byId("notice-close").addEventListener("click", () => app.notice(""));
byId("new-case").addEventListener("click", () => { location.hash = ""; });
window.addEventListener("hashchange", () => app.attempt(open));
for (const screen of [drop, run, look]) screen.prepare(app);
app.attempt(begin);
