"use strict";
// Accept, reject with reasons, edit in place, note, undo.

const DONE = { accept: "Accepted", reject: "Rejected", edit: "Edited" };

/** Decide about the shown sample and go on to the next one that needs it. */
function decide(verdict, { reasons = [], question = "", answer = "" } = {}, focus = false) {
  const item = current();
  const note = byId("note").value;
  const decided_at = new Date().toISOString();
  change([[item.id, { id: item.id, content: item.content, decision: verdict, reasons, note, question, answer, decided_at }]], true);
  const number = at + 1;
  const isLeft = (other) => stateOf(other) === "undecided" && matches(other, false);
  const wantsLeft = !filter.state || filter.state === "undecided";
  const next = seek(at, 1, wantsLeft ? isLeft : matches, wantsLeft);
  if (next >= 0) goTo(next, { focus });
  else goTo(at, { focus });
  const where = next >= 0 ? `Now sample ${at + 1}.` : "";
  say(`${DONE[verdict]} sample ${number}.`, `${byId("count").textContent}. ${where}`);
  if (state.decisions.size === data.items.length) finish();
}

const accept = () => decide("accept");

function undo() {
  const ids = takeBack();
  if (!ids.length) return say("Nothing to undo.");
  const index = data.items.findIndex((item) => item.id === ids[0]);
  goTo(index >= 0 ? index : at);
  say(ids.length === 1 ? `Undone: sample ${at + 1} is as before.` : `Undone: ${ids.length} samples are as before.`);
}

// Reject

/** Each scenario has its own reasons: a privacy text is not meant to be wrong. */
const reasonFits = (item, key) => key in data.words.why[item.scenario];

function openRejecter(toggled = -1) {
  const item = current();
  closeEditor();
  if (byId("rejecter").hidden) {
    showReasons(item, state.decisions.get(item.id)?.reasons ?? []);
    byId("rejecter").hidden = false;
    byId("bar").hidden = true;
  }
  const boxes = [...byId("reasons").querySelectorAll("input")];
  const box = toggled < 0 ? boxes[0] : boxes.find((one) => one.value === data.reasons[toggled]?.key);
  if (!box) return say(`\u201c${data.reasons[toggled]?.label}\u201d is for incorrect answers only.`);
  if (toggled >= 0) box.checked = !box.checked;
  byId("reject-problem").textContent = "";
  box.focus();
  byId("harmful").scrollIntoView({ block: "nearest" });
}

function showReasons(item, chosen) {
  const rows = data.reasons.map(({ key, label }, index) => {
    if (!reasonFits(item, key)) return "";
    const box = make("input", { type: "checkbox", value: key, checked: chosen.includes(key) });
    const why = make("span", { className: "why" }, data.words.why[item.scenario]?.[key] ?? "");
    return make("label", { className: "reason" }, box, make("kbd", {}, String(index + 1)), make("span", { className: "label" }, label), why);
  });
  byId("reasons").replaceChildren(...rows.filter(Boolean));
}

function closeRejecter() {
  if (byId("rejecter").hidden) return false;
  byId("rejecter").hidden = true;
  byId("bar").hidden = false;
  return true;
}

function reject(event) {
  event.preventDefault();
  const reasons = [...byId("reasons").querySelectorAll("input:checked")].map((box) => box.value);
  if (!reasons.length) {
    byId("reject-problem").textContent = "Choose at least one reason.";
    return;
  }
  decide("reject", { reasons }, true);
}

// Edit

/** An edit that was typed and not saved. */
const hasKeptEdit = (item) => state.drafts.get(item.id)?.answer !== undefined && byId("editor").hidden;

/** Textareas know one kind of line end: what is otherwise untouched keeps its own. */
const asTyped = (text) => text.replace(/\r\n?/g, "\n");

function openEditor() {
  const item = current();
  closeRejecter();
  const { question, answer } = { ...textsOf(item), ...draftTexts(item) };
  byId("edit-question").value = question;
  byId("edit-answer").value = answer;
  byId("edit-question-box").hidden = item.scenario !== "privacy";
  byId("editor").hidden = false;
  byId("harmful").hidden = byId("kept-edit").hidden = byId("bar").hidden = true;
  showHints();
  const questionFirst = item.scenario === "privacy" && !item.values.some((value) => value.field === "answer");
  const field = byId(questionFirst ? "edit-question" : "edit-answer");
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
  byId("editor").scrollIntoView({ block: "nearest" });
}

function draftTexts(item) {
  const { question, answer } = state.drafts.get(item.id) ?? {};
  return answer === undefined ? {} : { question, answer };
}

function editedTexts(item) {
  const read = (field, id) => (byId(id).value === asTyped(item[field]) ? item[field] : byId(id).value);
  const question = item.scenario === "privacy" ? read("question", "edit-question") : item.question;
  return { question, answer: read("answer", "edit-answer") };
}

function typed() {
  const item = current();
  state.drafts.set(item.id, { ...state.drafts.get(item.id), ...editedTexts(item) });
  save();
  showHints();
}

function closeEditor() {
  if (byId("editor").hidden) return false;
  byId("editor").hidden = true;
  byId("harmful").hidden = byId("bar").hidden = false;
  const item = current();
  if (item) byId("kept-edit").hidden = !hasKeptEdit(item);
  return true;
}

function dropDraft() {
  const item = current();
  const { note } = state.drafts.get(item.id) ?? {};
  state.drafts.set(item.id, note === undefined ? {} : { note });
  save();
  closeEditor();
  openEditor();
}

function saveEdit(event) {
  event.preventDefault();
  decide("edit", editedTexts(current()), true);
}

/** What the import would refuse for certain. A hint only: the dataset's own checks decide. */
function hints(item, { question, answer }) {
  const found = [];
  if (!answer.trim()) found.push("The answer is empty.");
  if (!question.trim()) found.push("The question is empty.");
  if (question === item.question && answer === item.answer) found.push("Nothing is changed yet.");
  for (const { field, kind, value } of item.values) {
    if (!{ question, answer }[field].includes(value)) found.push(`The ${field} lacks the ${kind} \u201c${value}\u201d.`);
  }
  return found;
}

function showHints() {
  const item = current();
  const found = hints(item, editedTexts(item));
  byId("edit-hints").replaceChildren(...found.map((hint) => make("li", {}, ...visible(hint))));
  byId("edit-save").firstChild.textContent = found.length ? "Save anyway " : "Save edit ";
}

// Note

function showNote(item) {
  const note = (state.decisions.get(item.id) ?? state.drafts.get(item.id))?.note ?? "";
  if (byId("note").value !== asTyped(note)) byId("note").value = note;
}

let noteBegan = false; // one step of undo for one visit to the field

function noteTyped() {
  const item = current();
  const note = byId("note").value;
  const decision = state.decisions.get(item.id);
  if (!decision) {
    state.drafts.set(item.id, { ...state.drafts.get(item.id), note });
    return save();
  }
  const changed = { ...decision, note, decided_at: new Date().toISOString() };
  if (noteBegan) replace(item.id, changed);
  else change([[item.id, changed]]);
  noteBegan = true;
}
