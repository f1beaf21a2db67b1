"use strict";
// What is decided: kept in the browser after every change, exported to a file.

const data = JSON.parse(document.getElementById("data").textContent);
const itemOf = new Map(data.items.map((item) => [item.id, item]));
const STORE = `mllmu-med review ${data.set} ${data.reviewer}`;
const VERDICTS = ["accept", "reject", "edit"];
const WITHDRAW = "withdraw"; // in an export: an earlier export had a decision that was undone since
const MOST_UNDO = 500;

const state = {
  decisions: new Map(), // by id, as in an export
  drafts: new Map(), // by id: {question, answer, note} that are typed and not decided yet
  undo: [], // each a list of [id, the decision before or null, the draft before or null]
  sent: new Set(), // the ids that an export holds a decision about
  withdrawn: new Map(), // by id, as in an export: sent, and undone since
  unexported: false, // whether a decision changed since the last export
  at: "", // the id that is shown
  guided: false, // whether the guide was read
  letters: true, // whether single keys do something
  revision: 0, // how often it was saved, in whatever tab
};

const storage = { problem: "", savedAt: null };

/** The whole state in the browser's storage; what goes wrong is shown until it works again. */
function save() {
  const kept = { ...state, revision: state.revision + 1 };
  for (const name of ["decisions", "drafts", "sent", "withdrawn"]) kept[name] = [...state[name]];
  try {
    localStorage.setItem(STORE, JSON.stringify(kept));
    state.revision = kept.revision;
    storage.problem = "";
    storage.savedAt = new Date();
  } catch (error) {
    const full = error.name === "QuotaExceededError";
    storage.problem = full
      ? "The browser\u2019s storage is full: your latest decisions are only in this tab."
      : "This browser does not keep what you decide: it is only in this tab.";
  }
  showSaved();
}

/** Nothing is written over: after a quick reload a slow storage brings what it has a moment later. */
function load() {
  let text = null;
  try {
    text = localStorage.getItem(STORE);
    if (text !== null) {
      adopt(JSON.parse(text));
      showSaved();
    } else {
      localStorage.setItem(`${STORE} probe`, "");
      localStorage.removeItem(`${STORE} probe`);
    }
  } catch {
    if (text === null) save(); // no storage: says so
    else banner("damaged", "What this browser kept of your review cannot be read. Send your latest export and ask for a new page.");
  }
}

function adopt(kept) {
  const known = ([id, decision]) => itemOf.get(id)?.content === decision.content;
  state.decisions = new Map(kept.decisions.filter(known));
  state.drafts = new Map(kept.drafts.filter(([id]) => itemOf.has(id)));
  state.sent = new Set(kept.sent);
  state.withdrawn = new Map((kept.withdrawn ?? []).filter(known));
  state.undo = kept.undo ?? [];
  for (const name of ["unexported", "at", "guided", "letters", "revision"]) state[name] = kept[name] ?? state[name];
}

/** Another tab with the same page has changed something: take it over, unless it is older. A page
 * that was just loaded is told of the changes before it, too. */
addEventListener("storage", (event) => {
  if (event.key !== STORE || event.newValue === null) return;
  const kept = JSON.parse(event.newValue);
  if (kept.revision < state.revision) return;
  const { at } = state;
  adopt(kept);
  state.at = at;
  storage.savedAt = new Date();
  show();
});

/** Change decisions, in one step of undo. `changes`: [id, decision or null]; `ends`: their drafts end */
function change(changes, ends = false) {
  state.undo.push(changes.map(([id]) => [id, state.decisions.get(id) ?? null, state.drafts.get(id) ?? null]));
  if (state.undo.length > MOST_UNDO) state.undo.shift();
  for (const [id, decision] of changes) {
    put(id, decision);
    if (ends) state.drafts.delete(id);
  }
  state.unexported = true;
  save();
}

/** Change a decision further within the same step of undo. */
function replace(id, decision) {
  put(id, decision);
  state.unexported = true;
  save();
}

function put(id, decision) {
  if (decision) {
    state.decisions.set(id, decision);
    state.withdrawn.delete(id);
    return;
  }
  const there = state.decisions.get(id);
  state.decisions.delete(id);
  if (there && state.sent.has(id)) state.withdrawn.set(id, withdrawal(there));
}

function withdrawal({ id, content }) {
  return { id, content, decision: WITHDRAW, reasons: [], note: "", question: "", answer: "", decided_at: new Date().toISOString() };
}

/** Take the latest change back; what was typed in an edit becomes a draft. Returns its ids. */
function takeBack() {
  const changes = state.undo.pop();
  if (!changes) return [];
  for (const [id, before, draft] of changes) {
    const now = state.decisions.get(id);
    if (now) keepDraft(id, now, before, draft);
    // Decided again by this: who imports it must take it for the newest.
    put(id, before && { ...before, decided_at: new Date().toISOString() });
  }
  state.unexported = true;
  save();
  return changes.map(([id]) => id);
}

function keepDraft(id, { decision, note, question, answer }, before, typed) {
  const draft = { ...typed, ...state.drafts.get(id) };
  if (!before) draft.note = note;
  if (decision === "edit" && before?.decision !== "edit") Object.assign(draft, { question, answer });
  state.drafts.set(id, draft);
}

function exported() {
  return {
    format: data.format,
    version: data.version,
    set: data.set,
    reviewer: data.reviewer,
    exported_at: new Date().toISOString(),
    decisions: data.items.flatMap((item) => state.decisions.get(item.id) ?? state.withdrawn.get(item.id) ?? []),
  };
}

/** review-NAME-DATE.json, with the time, so that a later export does not become "(1)". */
function exportName() {
  const name = data.reviewer.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 60);
  const now = new Date().toLocaleString("sv").replaceAll(":", "").replace(" ", "-"); // Swedes write ISO
  return `${["review", name, now].filter(Boolean).join("-")}.json`;
}
