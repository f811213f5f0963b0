"use strict";

// Documents are strangers' texts: everything here becomes text nodes, nothing becomes markup.
const at = (id) => document.getElementById(id);
const FIELDS = ["id", "version", "title", "language", "audience", "product", "valid_from", "valid_to", "supersedes", "owner"];
let key = "";

function make(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (name.startsWith("aria-") || name === "scope" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined).map((child) =>
    child instanceof Node ? child : String(child)));
  return node;
}

function say(text, wrong) {
  at("status").textContent = text;
  at("status").classList.toggle("wrong", Boolean(wrong));
}

// One request; null where it was refused, which is said.
async function ask(method, path, body, headers) {
  say("Working...");
  let response;
  let told;
  try {
    response = await fetch(path, {
      method,
      headers: { Authorization: `Bearer ${key}`, ...headers },
      body,
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    told = await response.json();
  } catch {
    say("The service did not answer. What was asked may have been done: look at the generations.", true);
    return null;
  }
  if (!response.ok) {
    const error = told.error || {};
    say(`${response.status} ${error.code || ""}: ${error.message || ""}\n${error.remedy || ""}`, true);
    return null;
  }
  say("Done.");
  return told;
}

const askJson = (path, value) =>
  ask("POST", path, JSON.stringify(value), { "Content-Type": "application/json" });

function table(caption, heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell))));
  const whole = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { className: "wide" }, whole);
}

const short = (digest) => (digest ? digest.replace("sha256:", "").slice(0, 12) : "-");
const path = (section) => (section && section.length ? section.join(" > ") : "-");
const percent = (share) => `${(100 * share).toFixed(1)} %`;

// A passage's text with what answers marked. Offsets count characters (code points) of the document.
function marked(passage) {
  const letters = Array.from(passage.text);
  const parts = [];
  let from = 0;
  for (const sentence of passage.sentences || []) {
    const begin = Math.max(from, sentence.start - passage.start);
    const end = Math.min(letters.length, sentence.end - passage.start);
    if (begin >= end) continue;
    parts.push(letters.slice(from, begin).join(""), make("mark", {}, letters.slice(begin, end).join("")));
    from = end;
  }
  parts.push(letters.slice(from).join(""));
  return make("p", { className: "text" }, ...parts);
}

function shownPassage(passage, place) {
  const facts = [
    `document ${passage.document}`, `version ${passage.version}`, `section ${path(passage.section)}`,
    `page ${passage.page ?? "-"}`, `characters ${passage.start} to ${passage.end}`, `for ${passage.audience}`,
    `score ${passage.score.toFixed(3)}`,
  ];
  return make("article", {}, make("h3", {}, `${place + 1}. ${passage.title}`),
    make("p", { className: "small" }, facts.join(" | ")), marked(passage));
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  at("key").value = "";
  showGenerations();
});

at("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const query = { query: at("query").value, top: Number(at("top").value) || 5 };
  for (const [name, id] of [["audience", "audience"], ["language", "language"], ["as_of", "as-of"], ["product", "product"]]) {
    if (at(id).value.trim()) query[name] = at(id).value.trim();
  }
  const found = await askJson("/v1/search", query);
  if (!found) return;
  const verdict = found.answered ? "answered" : "nothing answers this";
  at("found").replaceChildren(
    make("p", {}, `answerable ${percent(found.answerable)}: ${verdict}. Generation ${short(found.generation)}.`),
    ...found.passages.map(shownPassage));
});

at("saved-ask").addEventListener("click", async () => {
  const told = await askJson("/v1/policies/test", {});
  if (!told) return;
  const name = (one) => JSON.stringify([one.query, one.document, one.section]);
  const failed = new Map(told.failed.map((one) => [name(one), one.found]));
  const rows = told.questions.map((one) => {
    const found = failed.get(name(one));
    const wanted = one.section ? `${one.document}, ${one.section}` : one.document;
    return [found ? "not found" : "found", one.query, wanted, one.audience, found ? found.join(", ") || "nothing" : ""];
  });
  const verdict = told.enough ? "enough" : "too few";
  const caption = `${told.passed} of ${told.asked} among the first ${told.top}: ${verdict} (at least ${percent(told.least)})`;
  at("saved-results").replaceChildren(table(caption, ["Result", "Question", "Wanted", "Who asks", "Found instead"], rows));
});

async function showDocuments() {
  const told = await ask("GET", "/v1/policies/documents");
  if (!told) return;
  const rows = told.documents.map((one) => {
    const remove = make("button", { type: "button", "aria-label": `Remove ${one.id}` }, "Remove");
    remove.addEventListener("click", () => removeDocument(one.id));
    return [one.id, one.version, one.title, one.language, one.audience, one.product || "-",
      `${one.valid_from || "..."} to ${one.valid_to || "..."}`, one.owner || "-", one.passages, short(one.source), remove];
  });
  const heads = ["Id", "Version", "Title", "Language", "For", "Product", "In force", "Owner", "Passages", "Source", ""];
  at("documents-list").replaceChildren(table(`${rows.length} in ${short(told.generation)}`, heads, rows));
}

async function removeDocument(id) {
  if (!confirm(`Remove ${id} in all its versions, and publish what is left?`)) return;
  const done = await ask("DELETE", `/v1/policies/documents/${encodeURIComponent(id)}`);
  if (done) await changed(`Removed. ${done.documents} documents answer, generation ${short(done.generation)}.`);
}

at("documents-show").addEventListener("click", showDocuments);

for (const name of FIELDS) {
  const input = make("input", { id: `field-${name}`, autocomplete: "off" });
  at("fields").append(make("span", {}, make("label", { for: `field-${name}` }, name), input));
}

// What is published is what was previewed: a change of file or field asks for another preview, and an answer that comes
// behind it is of something else.
let previewed = 0;
at("upload-form").addEventListener("input", (event) => {
  if (event.target.id === "force") return;
  previewed += 1;
  at("publish").disabled = true;
});

function upload(route, force) {
  const file = at("file").files[0];
  const query = new URLSearchParams({ name: file.name });
  for (const name of FIELDS) {
    const value = at(`field-${name}`).value.trim();
    if (value) query.set(name, value);
  }
  if (force) query.set("force", "true");
  return ask("POST", `${route}?${query}`, file, { "Content-Type": "application/octet-stream" });
}

function told(concern) {
  const where = (concern.documents || [`${concern.document} ${concern.version}`]).join(" and ");
  const what = concern.target || concern.supersedes || (concern.sentences || []).join(" / ");
  return `${concern.concern.replaceAll("_", " ")}: ${where} ${what || ""}`;
}

function shownDocument(read) {
  const passages = read.passages.map((one) => [path(one.section), one.page ?? "-", `${one.start} to ${one.end}`, one.text]);
  const force = `${read.valid_from || "..."} to ${read.valid_to || "..."}`;
  const facts = [`version ${read.version}`, read.language, `for ${read.audience}`, `product ${read.product || "-"}`,
    `in force ${force}`, `supersedes ${read.supersedes || "-"}`, `owner ${read.owner || "-"}`];
  return make("article", {}, make("h3", {}, `${read.id}: ${read.title}`), make("p", { className: "small" }, facts.join(" | ")),
    table(`${passages.length} passages`, ["Section", "Page", "Characters", "Text"], passages));
}

at("upload-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("publish").disabled = true;
  previewed += 1;
  const own = previewed;
  const read = await upload("/v1/policies/preview", false);
  if (own !== previewed) return;
  if (!read) return at("preview").replaceChildren();
  const looks = [...read.concerns.map(told), ...read.notes].map((text) => make("li", {}, text));
  at("preview").replaceChildren(
    make("p", {}, looks.length ? "To look at before it is published:" : "Nothing to look at was found."),
    make("ul", {}, ...looks), ...read.documents.map(shownDocument));
  at("publish").disabled = false;
});

at("publish").addEventListener("click", async () => {
  const done = await upload("/v1/policies/documents", at("force").checked);
  if (!done) return;
  at("publish").disabled = true;
  await changed(`Published: ${done.documents} documents answer, generation ${short(done.generation)}.`);
});

async function changed(text) {
  await showDocuments();
  await showGenerations();
  say(text);
}

async function showGenerations() {
  const told = await ask("GET", "/v1/policies");
  if (!told) return;
  const rows = told.generations.reverse().map((one, place) => {
    const choice = (side, checked) =>
      make("input", { type: "radio", name: side, value: one.generation, checked, "aria-label": `${side} ${short(one.generation)}` });
    const back = make("button", { type: "button", disabled: one.current, "aria-label": `Roll back to ${short(one.generation)}` }, "Roll back");
    back.addEventListener("click", () => rollBack(one.generation));
    return [choice("from", place === Math.min(1, told.generations.length - 1)), choice("to", place === 0), short(one.generation),
      one.current ? "current" : "", one.built_at, one.documents, one.passages, one.encoder ? "by meaning" : "by words", back];
  });
  const heads = ["From", "To", "Generation", "", "Built", "Documents", "Passages", "Searched", ""];
  at("generations-list").replaceChildren(table(`${rows.length} generations, the newest first`, heads, rows));
  at("compare").disabled = rows.length < 2;
}

async function rollBack(generation) {
  if (!confirm(`Make ${short(generation)} the current generation?`)) return;
  const done = await askJson("/v1/policies/rollback", { generation });
  if (done) await changed(`Rolled back: generation ${short(done.current)} answers.`);
}

at("generations-show").addEventListener("click", showGenerations);

at("compare").addEventListener("click", async () => {
  const chosen = (side) => at("generations-list").querySelector(`input[name="${side}"]:checked`).value;
  const query = new URLSearchParams({ from: chosen("from"), to: chosen("to") });
  const found = await ask("GET", `/v1/policies/diff?${query}`);
  if (!found) return;
  const shown = found.documents.map((one) => {
    const versions = `version ${one.version_before ?? "none"} to ${one.version_after ?? "none"}`;
    const fields = one.fields.length ? `changed: ${one.fields.join(", ")}` : "";
    const plans = one.plans.length ? `cited by the plans ${one.plans.join(", ")}` : "cited by no plan";
    const rows = one.sections.map((part) => [part.change, path(part.section), (part.before || []).join("\n"), (part.after || []).join("\n")]);
    return make("article", {}, make("h3", {}, `${one.document}: ${one.change}`),
      make("p", { className: "small" }, [versions, fields, plans].filter(Boolean).join(" | ")),
      table("Sections", ["Change", "Section", "Before", "After"], rows));
  });
  at("difference").replaceChildren(make("p", {}, shown.length ? `${shown.length} documents differ.` : "They are the same."), ...shown);
});
