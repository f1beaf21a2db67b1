"use strict";
// Texts that nobody has vouched for: shown as text only, with what cannot be seen made visible.

// Control characters (but tab and newline), invisible ones, direction marks, and halves of pairs.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

/** An element with properties and children; strings become text, never markup. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A text as nodes: what cannot be seen stands as a small labelled mark. */
function visible(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(UNSEEN)) {
    nodes.push(text.slice(from, match.index));
    const name = `U+${match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
    nodes.push(make("span", { className: "unseen", title: `invisible character ${name}` }, name));
    from = match.index + match[0].length;
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== "");
}

/** A text split where any range begins or ends; a part knows the ranges it lies in. */
function parts(text, changes, values) {
  const cuts = new Set([0, text.length]);
  for (const range of [...changes, ...values]) cuts.add(range.start).add(range.end);
  const places = [...cuts].filter((cut) => cut >= 0 && cut <= text.length).sort((a, b) => a - b);
  const within = (ranges, at) => ranges.find((range) => range.start <= at && at < range.end);
  return places.slice(0, -1).map((start, index) => ({
    text: text.slice(start, places[index + 1]),
    end: places[index + 1],
    change: within(changes, start),
    value: within(values, start),
  }));
}

const SAID = { ins: "added", del: "removed" };

/**
 * Fill `box` with a text. `changes` become <ins> or <del> (`tag`), also said in words to a screen
 * reader; `values` are underlined with their kind.
 */
function paint(box, text, { changes = [], tag = "ins", rewritten = false, values = [] } = {}) {
  box.replaceChildren();
  let said = null;
  for (const part of parts(text, changes, values)) {
    let into = box;
    if (part.change) {
      into = make(tag, { className: [rewritten && "rewritten", part.value && "valued"].filter(Boolean).join(" ") });
      if (part.change !== said) into.append(make("span", { className: "unheard" }, `${SAID[tag]}: `));
      said = part.change;
      box.append(into);
    }
    if (!part.value) {
      into.append(...visible(part.text));
      continue;
    }
    const value = make("span", { className: "value" }, ...visible(part.text));
    into.append(value);
    if (part.end === part.value.end) value.append(make("span", { className: "value-kind" }, part.value.kind));
  }
  if (text === "") box.append(make("em", { className: "nothing" }, "(empty)"));
}
