// Draws the OpenAPI document of this server: its operations, what they take, and what they answer.

import { byId, make } from "./dom.js";

const { origin } = location;
const example = `SERVER=${origin}
CASE=$(curl -s -X POST $SERVER/api/cases | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
for KIND in t1n t1c t2w t2f; do
  curl -s -T case/$KIND.nii.gz "$SERVER/api/cases/$CASE/images/$KIND?name=$KIND.nii.gz"
done
curl -s -X POST $SERVER/api/cases/$CASE/start
curl -sN $SERVER/api/cases/$CASE/events            # until "state":"done"; Ctrl-C
curl -s -OJ "$SERVER/api/cases/$CASE/results/mask.nii.gz?download=1"
curl -s -X DELETE $SERVER/api/cases/$CASE`;

/** A schema in a few words: its name, or its type and what bounds it. */
function words(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  const several = schema.anyOf ?? schema.oneOf ?? schema.prefixItems;
  if (several) return several.map(words).join(schema.prefixItems ? ", " : " or ");
  if (schema.enum) return schema.enum.join(", ");
  if (schema.const !== undefined) return String(schema.const);
  if (schema.type === "array") return `list of ${words(schema.items) || "anything"}`;
  if (schema.type === "object" && schema.additionalProperties) return `map to ${words(schema.additionalProperties)}`;
  if (schema.format === "binary") return "bytes of a file";
  return schema.type ?? "anything";
}

function table(heads, rows) {
  const head = make("thead", {}, make("tr", {}, ...heads.map((each) => make("th", {}, each))));
  const cell = (each, at) => make("td", {}, make(at ? "span" : "code", {}, each));
  const body = rows.map((row) => make("tr", {}, ...row.map(cell)));
  return make("table", {}, head, make("tbody", {}, ...body));
}

function operation(path, method, it) {
  const parts = [make("p", {}, it.description ?? "")];
  const taken = (it.parameters ?? []).map(({ name, in: where, required, schema, description }) =>
    [name, where + (required ? "" : ", may be left out"), words(schema), description ?? schema?.description ?? ""]);
  if (taken.length) parts.push(table(["Parameter", "Where", "Type", "Meaning"], taken));
  const bodies = Object.entries(it.requestBody?.content ?? {})
    .map(([type, { schema }]) => [type, words(schema), it.requestBody.description ?? ""]);
  if (bodies.length) parts.push(table(["Body", "Content", "Meaning"], bodies));
  const contents = (content) => Object.entries(content ?? {}).map(([type, { schema }]) => `${type}: ${words(schema)}`);
  const answers = Object.entries(it.responses).map(([status, { description, content }]) =>
    [status, contents(content).join("; "), description]);
  parts.push(table(["Answer", "Content", "Meaning"], answers));
  const [first] = (it.description ?? "").split(/[.:;](?= |$)/);
  const line =
    make("summary", {}, make("b", {}, method.toUpperCase()), make("code", {}, path), " ", make("span", {}, first));
  return make("details", {}, line, make("div", {}, ...parts));
}

function schema(name, it) {
  const rows = Object.entries(it.properties ?? {}).map(([key, value]) => [key, words(value), value.description ?? ""]);
  const content = make("div", {}, make("p", {}, it.description ?? ""), table(["Field", "Type", "Meaning"], rows));
  return make("details", {}, make("summary", {}, make("code", {}, name)), content);
}

byId("example").textContent = example;
try {
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(String(answer.status));
  const { info, paths, components } = await answer.json();
  byId("title").textContent = `${info.title} ${info.version}`;
  byId("description").textContent = info.description;
  const groups = new Map();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, it] of Object.entries(methods)) {
      const tag = it.tags?.at(-1) ?? "others";
      if (!groups.has(tag)) groups.set(tag, make("section", {}, make("h2", {}, tag[0].toUpperCase() + tag.slice(1))));
      groups.get(tag).append(operation(path, method, it));
    }
  }
  byId("operations").append(...groups.values());
  byId("schemas").append(...Object.entries(components.schemas).map(([name, it]) => schema(name, it)));
} catch {
  byId("failed").hidden = false;
}
