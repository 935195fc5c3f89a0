// Builds elements. Text that came from a user only ever becomes a text node.

export const byId = (id) => document.getElementById(id);

/** An element with properties (or attributes, where there is no such property) and children. */
export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== false && child !== undefined));
  return node;
}

/** Radio buttons side by side, of which one is chosen; `options` are pairs of value and text. */
export function choice(name, title, options, { value, onChoose }) {
  const row = make("div", { className: "segments" });
  for (const [each, text] of options) {
    const input = make("input", { type: "radio", name, value: each, checked: each === value });
    input.addEventListener("change", () => onChoose(each));
    row.append(make("label", {}, input, make("span", {}, text)));
  }
  return make("fieldset", { className: "control", id: `control-${name}` }, make("legend", {}, title), row);
}

/** A box to tick, with the colour that it stands for. */
export function tick(name, text, { value = "on", checked, colour = "", onTick }) {
  const input = make("input", { type: "checkbox", name, value, checked });
  input.addEventListener("change", () => onTick(input.checked));
  const label = make("label", { className: "tick" }, input);
  if (colour) {
    const swatch = make("i", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = colour;
    label.append(swatch);
  }
  label.append(text);
  return label;
}

/** A slider with its name above it. */
export function slider(name, title, { low, high, value, step = "any", onMove }) {
  const input = make("input", { type: "range", name, id: `slider-${name}`, min: low, max: high, step, value });
  input.addEventListener("input", () => onMove(Number(input.value)));
  const label = make("label", { htmlFor: input.id }, title);
  return make("div", { className: "control slide", id: `control-${name}` }, label, input);
}

/** Reads a sentence to those who listen instead of looking. */
export function say(sentence) {
  byId("say").textContent = sentence;
}
