// Shows an OpenAPI document: one section an operation, with what it takes, what it gives, and a way to try it.
// Everything is put in as text, never as markup: a document cannot bring a script along.

// Where the server is: it may stand below a path of a proxy's.
const base = new URL("../../", import.meta.url);
const response = await fetch(new URL("api/v1/openapi.json", base));
const reference = await response.json();

/** An element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** The schema that a reference points to, or the schema itself. */
function resolve(schema) {
  const path = schema?.$ref;
  return path ? path.slice(2).split("/").reduce((node, name) => node[name], reference) : schema;
}

/** A schema in a few words. */
function describe(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(describe).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(", ");
  if (schema.type === "array") return `list of ${describe(schema.items)}`;
  return schema.format ? `${schema.type}, ${schema.format}` : String(schema.type ?? "any");
}

function table(heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", {}, text)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((text) => make("td", {}, text))));
  return make("table", {}, head, ...body);
}

function fields(schema) {
  const { properties = {}, required = [] } = resolve(schema) ?? {};
  return Object.entries(properties).map(([name, field]) => [
    name, describe(field), required.includes(name) ? "always" : "",
  ]);
}

/** A form that calls the operation with the token of the page and shows what comes back. */
function attempt(method, path, operation) {
  const inputs = operation.parameters.map((parameter) => {
    const example = parameter.schema.default ?? parameter.schema.examples?.[0] ?? "";
    return [parameter, make("input", { "aria-label": parameter.name, value: example, placeholder: parameter.name })];
  });
  const body = operation.requestBody
    ? make("input", { "aria-label": "body", value: '{"query": "apple"}', size: "40" }) : null;
  const result = make("pre", { hidden: "" });
  const form = make("form", {}, ...inputs.map(([, input]) => input), ...(body ? [body] : []),
    make("button", {}, "Try it"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let target = path;
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(parameter.name, input.value);
    }
    const token = document.getElementById("token").value.trim();
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const url = new URL(target.slice(1), base);
    url.search = query;
    const answer = await fetch(url, { method, headers, body: body?.value });
    const text = await answer.text();
    result.hidden = false;
    result.textContent = `${answer.status} ${answer.statusText}\n\n${pretty(text)}`;
  });
  return make("div", {}, form, result);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function show(path, method, operation) {
  const parts = [
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), " ",
      make("code", {}, path), ` ${operation.summary}`),
    make("p", {}, operation.description),
  ];
  if (operation.parameters.length > 0) {
    parts.push(table(["parameter", "in", "type"],
      operation.parameters.map(({ name, in: place, schema }) => [name, place, describe(schema)])));
  }
  const stream = operation.responses["200"]?.content?.["text/event-stream"];
  const content = (given) => (given?.content?.["application/json"] ?? stream)?.schema;
  if (operation.requestBody) parts.push(table(["body", "type", ""], fields(content(operation.requestBody))));
  parts.push(table(["answer", "type", ""], fields(content(operation.responses["200"]))));
  parts.push(table(["status", ""],
    Object.entries(operation.responses).map(([status, { description }]) => [status, description])));
  // A stream has no end to wait for.
  if (!stream) parts.push(attempt(method.toUpperCase(), path, operation));
  return make("details", {}, ...parts);
}

document.getElementById("about").textContent = `${reference.info.description} Version ${reference.info.version}.`;
document.getElementById("access").addEventListener("submit", (event) => event.preventDefault());
const main = document.getElementById("operations");
for (const [path, methods] of Object.entries(reference.paths)) {
  for (const [method, operation] of Object.entries(methods)) main.append(show(path, method, operation));
}
