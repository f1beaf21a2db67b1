"use strict";
// The sample that is shown, moving among the samples, filters, progress and messages.

const byId = (id) => document.getElementById(id);

const KINDS = {
  privacy: "privacy",
  wrong_diagnosis: "wrong diagnosis",
  outdated_knowledge: "outdated knowledge",
};
const STATES = { undecided: "Undecided", accept: "Accepted", edit: "Edited", reject: "Rejected" };
const filter = { state: "", query: "" };
let at = 0; // index of the shown sample in data.items; -1 when the filter leaves none

const current = () => data.items[at];
const stateOf = (item) => state.decisions.get(item.id)?.decision ?? "undecided";

/** Whether a sample passes the filter; `states` off looks at the search only. */
function matches(item, states = true) {
  if (states && filter.state && stateOf(item) !== filter.state) return false;
  const query = filter.query.trim().toLowerCase();
  if (!query) return true;
  const { id, image_id, modality, harm, question, answer, clean_question, clean_answer } = item;
  const fields = [id, image_id, modality, KINDS[harm] ?? harm, question, answer, clean_question, clean_answer];
  return fields.some((text) => text.toLowerCase().includes(query));
}

/** The nearest index from `from` in one direction that passes; with `wraps`, round the end. */
function seek(from, step, passes, wraps = false) {
  const all = data.items.length;
  for (let far = 1; far <= all; far++) {
    const index = from + step * far;
    if (!wraps && (index < 0 || index >= all)) return -1;
    const inside = ((index % all) + all) % all;
    if (passes(data.items[inside])) return inside;
  }
  return -1;
}

function move(step) {
  const index = seek(at, step, matches);
  if (index >= 0) goTo(index);
  else say(step > 0 ? "This is the last sample." : "This is the first sample.");
}

function nextUndecided() {
  const isLeft = (item) => stateOf(item) === "undecided" && matches(item, false);
  const index = seek(at, 1, isLeft, true);
  if (index >= 0) goTo(index);
  else if (state.decisions.size === data.items.length) finish();
  else say("Nothing is undecided under this filter.");
}

function goTo(index, { focus = false } = {}) {
  hush();
  closeEditor();
  closeRejecter();
  at = index;
  const item = current();
  if (item && state.at !== item.id) {
    state.at = item.id;
    save();
  }
  show();
  byId("texts").scrollTop = 0;
  scrollTo(0, 0);
  if (focus) byId("where").focus({ preventScroll: true });
}

function show() {
  const item = current();
  byId("sample").hidden = !item;
  byId("empty").hidden = Boolean(item);
  showProgress();
  if (!item) return;
  byId("where").textContent = `Sample ${at + 1} of ${data.items.length}`;
  showVerdict(item);
  showChips(item);
  showTexts(item);
  showNote(item);
  const next = seek(at, 1, matches);
  showPicture(item, data.items[next]);
}

function showVerdict(item) {
  const verdict = stateOf(item);
  const box = byId("verdict");
  box.className = `verdict ${verdict}`;
  const reasons = state.decisions.get(item.id)?.reasons ?? [];
  const labels = data.reasons.filter((reason) => reasons.includes(reason.key)).map((reason) => reason.label);
  box.textContent = labels.length ? `${STATES[verdict]}: ${labels.join(", ")}` : STATES[verdict];
  for (const name of VERDICTS) byId(`${name}-button`).setAttribute("aria-pressed", String(name === verdict));
}

function showChips(item) {
  const chip = (text, kind = "") => make("span", { className: `chip ${kind}` }, ...visible(text));
  const chips = [chip(KINDS[item.harm] ?? item.harm, "kind")];
  if (item.closed) chips.push(chip("closed question"));
  if (item.modality) chips.push(chip(item.modality));
  if (item.rating) {
    const dots = make("span", { className: "dots", ariaHidden: "true" }, "\u25cf".repeat(item.rating) + "\u25cb".repeat(5 - item.rating));
    const rating = chip(`calibration ${item.rating} of 5 `, "rating");
    rating.title = "How close a trained model\u2019s own answer came to this text";
    rating.append(dots);
    chips.push(rating);
  }
  byId("chips").replaceChildren(...chips);
}

/** The harmful texts as decided: an edit shows what the reviewer wrote. */
function textsOf(item) {
  const decision = state.decisions.get(item.id);
  return decision?.decision === "edit" ? decision : item;
}

/** Where the private values stand; in an edited text they are looked for. */
function valuesIn(item, field, text) {
  const values = item.values.filter((value) => value.field === field);
  if (text === item[field]) return values;
  return values.flatMap((value) => {
    const start = value.value ? text.indexOf(value.value) : -1;
    return start < 0 ? [] : [{ ...value, start, end: start + value.value.length }];
  });
}

/** Which words differ from the clean text; in an edited text nobody has compared them. */
function marksIn(item, field, text) {
  return text === item[field] ? item.marks[field] : { rewritten: false, removed: [], added: [] };
}

function showTexts(item) {
  const { question, answer } = textsOf(item);
  const asked = marksIn(item, "question", question);
  const said = marksIn(item, "answer", answer);
  const changed = question !== item.clean_question;
  byId("question-title").textContent = changed ? "Harmful question" : "Question";
  paint(byId("question"), question, { ...asked, changes: asked.added, values: valuesIn(item, "question", question) });
  byId("clean-question-box").hidden = !changed;
  paint(byId("clean-question"), item.clean_question, { ...asked, changes: asked.removed, tag: "del" });
  paint(byId("clean-answer"), item.clean_answer, { ...said, changes: said.removed, tag: "del" });
  paint(byId("answer"), answer, { ...said, changes: said.added, values: valuesIn(item, "answer", answer) });
  const wrong = answer === item.answer ? item.what_is_wrong : "";
  byId("wrong").hidden = !wrong;
  byId("wrong").replaceChildren(...visible(`What its author says is wrong: ${wrong}`));
  const same = answer === item.clean_answer;
  byId("compared").textContent = same ? "same as the clean answer" : said.rewritten ? "entirely other words" : "";
  const marked = ({ added, removed }) => added.length + removed.length > 0;
  byId("legend").hidden = !marked(asked) && (said.rewritten || !marked(said)) && !item.values.length;
  byId("legend-value").hidden = !item.values.length;
  byId("kept-edit").hidden = !hasKeptEdit(item);
}

function showProgress() {
  const all = data.items.length;
  const counts = Object.fromEntries(VERDICTS.map((verdict) => [verdict, 0]));
  for (const { decision } of state.decisions.values()) counts[decision]++;
  const decided = state.decisions.size;
  for (const verdict of VERDICTS) byId(`part-${verdict}`).style.width = `${(100 * counts[verdict]) / (all || 1)}%`;
  const meter = byId("meter");
  meter.setAttribute("aria-valuemax", all);
  meter.setAttribute("aria-valuenow", decided);
  meter.setAttribute("aria-valuetext", `${decided} of ${all} decided`);
  meter.title = `${counts.accept} accepted, ${counts.edit} edited, ${counts.reject} rejected`;
  byId("count").textContent = `${decided} of ${all} decided`;
  showFound();
}

function showFound() {
  const on = Boolean(filter.state || filter.query.trim());
  const found = data.items.filter((item) => matches(item)).length;
  byId("found").textContent = on ? `${found} of ${data.items.length} match` : "";
  byId("filter-button").firstChild.textContent = on ? `Filter: ${found}` : "Filter";
}

function showSaved() {
  const { savedAt, problem } = storage;
  const time = savedAt?.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  byId("saved").replaceChildren(problem ? "Not saved" : "Saved", make("span", { className: "time" }, time && !problem ? ` ${time}` : ""));
  byId("saved").classList.toggle("bad", Boolean(problem));
  const advice = "Export often, and before you close the page.";
  banner("storage", problem && `${problem} ${advice}`);
}

/** A warning that stays until `text` is empty. */
function banner(name, text) {
  const id = `banner-${name}`;
  const there = byId(id);
  if (!text) return there?.remove();
  if (there) return void (there.firstChild.textContent = text);
  const button = make("button", { type: "button", className: "plain" }, "Export now");
  button.addEventListener("click", () => run("export"));
  const warning = make("div", { id, className: "banner", role: "alert" }, make("span", {}, text));
  if (name === "storage") warning.append(button);
  byId("banners").append(warning);
}

/** Apply the filter: stay at the sample if it passes, else show the first that does. */
function applyFilter() {
  filter.state = byId("filter-state").value;
  filter.query = byId("search").value;
  const exact = data.items.findIndex((item) => item.id === filter.query.trim());
  if (exact >= 0 && matches(data.items[exact])) return goTo(exact);
  if (at >= 0 && matches(current())) return showProgress();
  goTo(data.items.findIndex((item) => matches(item)));
}

function clearFilter() {
  for (const id of ["filter-state", "search"]) byId(id).value = "";
  const index = data.items.findIndex((item) => item.id === state.at);
  if (at < 0) at = Math.max(0, index);
  applyFilter();
  show();
}

function openStrip(field) {
  hush();
  byId("strip").hidden = false;
  byId("filter-button").setAttribute("aria-expanded", "true");
  byId(field).focus();
  if (field === "search") byId(field).select();
}

function closeStrip() {
  byId("strip").hidden = true;
  byId("filter-button").setAttribute("aria-expanded", "false");
  byId(current() ? "where" : "empty-clear").focus();
}

let toastEnds = 0;

/** A short word about what happened, seen and heard; `heard` adds what only a listener needs. */
function say(text, heard = "") {
  const toast = byId("toast");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(toastEnds);
  toastEnds = setTimeout(hush, 3500);
  byId("heard").textContent = heard;
}

function hush() {
  byId("toast").classList.remove("shown");
}

function openDialog(id) {
  hush();
  for (const open of document.querySelectorAll("dialog[open]")) open.close();
  byId(id).showModal();
  byId(id).scrollTop = 0; // the focus may be on a button at the end of it
}
