"use strict";
// What is decided: kept in the browser after every change, exported to a file, imported from one.

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
  } catch (error) {
    if (text === null) save(); // no storage: says so
    else keepDamaged(text, error);
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

/** What cannot be read is put aside, not overwritten: somebody may still get it back. */
function keepDamaged(text, error) {
  try {
    localStorage.setItem(`${STORE} damaged ${Date.now()}`, text);
  } catch {
    // The storage is full; the warning below says what to do in any case.
  }
  storage.damaged = `What this browser kept of your review cannot be read (${error.message}). Import your latest export.`;
  save();
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
  if (decision && decision.decision !== WITHDRAW) {
    state.decisions.set(id, decision);
    state.withdrawn.delete(id);
    return;
  }
  const there = state.decisions.get(id);
  state.decisions.delete(id);
  if (decision) state.withdrawn.set(id, decision);
  else if (there && state.sent.has(id)) state.withdrawn.set(id, withdrawal(there));
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
    // Decided again by this: an import elsewhere must take it for the newest.
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

class Refused extends Error {}

/** The decisions of an export, all checked; throws Refused with one line that says what is wrong. */
function readExport(text, name) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    refuse(true, `${name} is not an export of a review page (no JSON). Choose a file named like ${exportName()}.`);
  }
  const ours = file?.format === data.format && Array.isArray(file.decisions);
  refuse(!ours, `${name} is not an export of a review page. Choose a file named like ${exportName()}.`);
  const { version, set, reviewer } = file;
  refuse(version !== data.version, `${name} has version ${version}, this page reads version ${data.version}. Open it in the page it came from.`);
  refuse(set !== data.set, `${name} belongs to other samples (set ${set}; this page shows set ${data.set}). Open it in the page it came from.`);
  const who = (named) => named || "nobody by name";
  refuse(reviewer !== data.reviewer, `${name} holds the decisions of ${who(reviewer)}; this page is for ${who(data.reviewer)}. Reviewers are brought together later, outside this page.`);
  file.decisions.forEach((decision, index) => checkDecision(decision, `${name}, decision ${index + 1}`));
  return file.decisions.map(plainDecision);
}

function refuse(wrong, line) {
  if (wrong) throw new Refused(line);
}

function checkDecision(decision, where) {
  const item = itemOf.get(decision?.id);
  refuse(!item, `${where} is about a sample that this page does not have. The file is damaged.`);
  refuse(decision.content !== item.content, `${where} is about an earlier text of sample ${item.id}.`);
  const texts = ["note", "question", "answer", "decided_at"];
  const sound =
    [...VERDICTS, WITHDRAW].includes(decision.decision) &&
    Array.isArray(decision.reasons) &&
    decision.reasons.every((key) => data.reasons.some((reason) => reason.key === key)) &&
    texts.every((field) => typeof decision[field] === "string");
  refuse(!sound, `${where} (sample ${item.id}) is damaged.`);
}

function plainDecision({ id, content, decision, reasons, note, question, answer, decided_at }) {
  return { id, content, decision, reasons, note, question, answer, decided_at };
}

/** Bring decisions in; the newer of two counts. Returns how many were new, newer, and left. */
function merge(decisions) {
  const counts = { fresh: 0, newer: 0, left: 0 };
  const changes = new Map();
  for (const decision of decisions) {
    const mine = changes.get(decision.id) ?? state.decisions.get(decision.id) ?? state.withdrawn.get(decision.id);
    if (mine && !(Date.parse(decision.decided_at) > Date.parse(mine.decided_at))) counts.left++;
    else {
      counts[mine ? "newer" : "fresh"]++;
      changes.set(decision.id, decision);
    }
  }
  const { unexported } = state; // what comes from a file is in a file
  for (const { id } of decisions) state.sent.add(id);
  if (changes.size) change([...changes]);
  state.unexported = unexported;
  save();
  return counts;
}
