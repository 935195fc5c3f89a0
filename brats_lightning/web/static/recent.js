// Which cases this browser has opened: their ids alone, until the server erases them.

const KEY = "brats-cases";

function stored() {
  try {
    const now = Date.now() / 1000;
    return JSON.parse(localStorage.getItem(KEY) ?? "[]").filter(({ expires }) => expires > now);
  } catch {
    return []; // storage is switched off: the address still leads to the case
  }
}

function store(cases) {
  try {
    localStorage.setItem(KEY, JSON.stringify(cases));
  } catch {
    // as above
  }
}

/** Ids, the newest first. */
export const recent = () => stored().map(({ id }) => id);

export function remember({ id, expires }) {
  store([{ id, expires }, ...stored().filter((each) => each.id !== id)].slice(0, 20));
}

export function forget(id) {
  store(stored().filter((each) => each.id !== id));
}
