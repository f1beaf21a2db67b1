"use strict";
// What every button and key does, the export, the dialogs, and the start.

const actions = {
  accept, undo,
  reject: () => openRejecter(),
  edit: openEditor,
  next: () => move(1),
  previous: () => move(-1),
  undecided: nextUndecided,
  note: () => byId("note").focus(),
  view: openViewer,
  search: () => openStrip("search"),
  filter: () => (byId("strip").hidden ? openStrip("filter-state") : closeStrip()),
  export: exportFile,
  guide: () => openDialog("guide"),
  help: () => openDialog("help"),
  menu: () => openDialog("menu"),
};
const NEEDS_SAMPLE = ["accept", "reject", "edit", "note", "view"];

const LETTERS = {
  a: "accept", r: "reject", e: "edit", c: "note", u: "undo", j: "next", k: "previous",
  ArrowRight: "next", ArrowLeft: "previous", n: "undecided", v: "view", "/": "search", f: "filter",
  x: "export", g: "guide", "?": "help",
};

function run(name) {
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  if (!current() && NEEDS_SAMPLE.includes(name)) return;
  actions[name]();
}

function onKey(event) {
  const { target, key } = event;
  if (document.querySelector("dialog[open]")) return; // a dialog has its own keys
  if (key === "Escape") return escape(event);
  if (key === "Enter" && (event.ctrlKey || event.metaKey) && !byId("editor").hidden) return saveEdit(event);
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !state.letters) return;
  if (target.matches("textarea, select, input:not([type=checkbox])")) return;
  const reason = "123456789".indexOf(key);
  if (reason >= 0 && reason < data.reasons.length && current()) {
    event.preventDefault();
    return openRejecter(reason);
  }
  const name = LETTERS[key] ?? LETTERS[key.toLowerCase()];
  if (!name || (event.repeat && !["next", "previous"].includes(name))) return;
  event.preventDefault();
  run(name);
}

/** Close what is open, innermost first, and put the focus where it came from. */
function escape(event) {
  event.preventDefault();
  if (closeRejecter()) return byId("reject-button").focus();
  if (closeEditor()) {
    byId("edit-button").focus();
    if (hasKeptEdit(current())) say("What you typed is kept here until you decide.");
    return;
  }
  if (byId("strip").contains(event.target)) return closeStrip();
  if (event.target.matches("textarea")) byId("where").focus();
}

function exportFile() {
  const name = exportName();
  const file = exported();
  const address = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  markExported(`Exported ${state.decisions.size} decisions: ${name}`);
}

function markExported(text) {
  for (const id of state.decisions.keys()) state.sent.add(id);
  state.unexported = false;
  save();
  say(text);
}

function finish() {
  const count = (verdict) => [...state.decisions.values()].filter((one) => one.decision === verdict).length;
  byId("finish-title").textContent = `All ${data.items.length} samples are decided`;
  byId("finish-counts").textContent = `${count("accept")} accepted, ${count("edit")} edited, ${count("reject")} rejected.`;
  byId("finish-name").textContent = exportName().replace(/\d{4}-\d\d-\d\d-\d{6}/, "\u2026");
  openDialog("finish");
}

function fillPage() {
  const scenarios = [...new Set(data.items.map((item) => item.scenario))];
  const title = scenarios.length === 1 ? (data.words.guide[scenarios[0]]?.[0] ?? "Review") : "Review";
  byId("title").textContent = title;
  document.title = data.reviewer ? `${title}: review by ${data.reviewer}` : `${title}: review`;
  byId("who").replaceChildren(...visible(data.reviewer ? `reviewer ${data.reviewer}` : ""));
  byId("guide-scenarios").replaceChildren(...scenarios.filter((name) => data.words.guide[name]).map(guideFor));
  byId("guide-rating").hidden = !data.items.some((item) => item.rating);
  byId("keys").replaceChildren(...data.words.keys.map(keyGroup));
  const option = ([value, text]) => make("option", { value }, text);
  byId("filter-state").replaceChildren(...[["", "any"], ...Object.entries(STATES)].map(option));
  byId("letters").checked = state.letters;
}

function guideFor(scenario) {
  const [title, rule, points] = data.words.guide[scenario];
  return make("section", {}, make("h3", {}, title), make("p", { className: "rule" }, rule), make("ul", {}, ...points.map((point) => make("li", {}, point))));
}

function keyGroup([title, rows]) {
  const row = ([keys, does]) => [make("dt", {}, ...keys.split("  ").map((key) => make("kbd", {}, key))), make("dd", {}, does)];
  return make("section", {}, make("h3", {}, title), make("dl", {}, ...rows.flatMap(row)));
}

function listen() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do], [data-close]");
    if (!button) return;
    if (button.dataset.do) run(button.dataset.do);
    else button.closest("dialog").close();
  });
  byId("rejecter").addEventListener("submit", reject);
  byId("rejecter").addEventListener("change", () => (byId("reject-problem").textContent = ""));
  byId("reject-close").addEventListener("click", escape);
  byId("editor").addEventListener("submit", saveEdit);
  byId("editor").addEventListener("input", typed);
  byId("edit-close").addEventListener("click", escape);
  byId("edit-reset").addEventListener("click", dropDraft);
  byId("note").addEventListener("input", noteTyped);
  byId("note").addEventListener("focus", () => (noteBegan = false));
  byId("strip").addEventListener("input", applyFilter);
  byId("strip").addEventListener("submit", (event) => {
    event.preventDefault();
    if (current()) byId("where").focus();
  });
  for (const id of ["filter-clear", "empty-clear"]) byId(id).addEventListener("click", clearFilter);
  byId("letters").addEventListener("change", (event) => {
    state.letters = event.target.checked;
    save();
  });
  byId("guide").addEventListener("close", () => {
    if (state.guided) return;
    state.guided = true;
    save();
  });
  addEventListener("beforeunload", (event) => {
    if (state.unexported) event.preventDefault();
  });
  document.addEventListener("DOMContentLoaded", allThere);
}

/** The whole file is read: the pictures are there now, or the file was cut off on its way here. */
function allThere() {
  if (!byId("end")) banner("cut", "This file is incomplete: get it again before you go on. Your decisions are kept.");
  if (current()) show();
  byId("picture-missing").textContent = "The picture is missing: this file is incomplete.";
}

function start() {
  load();
  fillPage();
  startViewer();
  listen();
  const index = data.items.findIndex((item) => item.id === state.at);
  at = data.items.length ? Math.max(0, index) : -1;
  show();
  if (!state.guided) openDialog("guide");
}

start();
