"use strict";
// Texts that nobody has vouched for: shown as text only, with what cannot be seen made visible.

// Control characters (but tab and newline), invisible ones, direction marks, and halves of pairs.
const UNSEEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

const NAMES = new Map(
  Object.entries({
    0x00: "NUL", 0x0d: "CR", 0x1b: "ESC", 0xad: "SHY", 0x200b: "ZWSP", 0x200c: "ZWNJ", 0x200d: "ZWJ",
    0x200e: "LRM", 0x200f: "RLM", 0x2028: "LS", 0x2029: "PS", 0x202a: "LRE", 0x202b: "RLE",
    0x202c: "PDF", 0x202d: "LRO", 0x202e: "RLO", 0x2060: "WJ", 0x2066: "LRI", 0x2067: "RLI",
    0x2068: "FSI", 0x2069: "PDI", 0xfeff: "BOM",
  }).map(([code, name]) => [Number(code), name]),
);

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

function codeName(char) {
  const code = char.codePointAt(0);
  return NAMES.get(code) ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** Whether a zero-width joiner holds an emoji together: there it is part of what is seen. */
function joinsEmoji(text, at) {
  return (
    text[at] === "\u200d" &&
    /(?:\p{Extended_Pictographic}|[\ufe0f\u{1f3fb}-\u{1f3ff}])$/u.test(text.slice(0, at)) &&
    /^\p{Extended_Pictographic}/u.test(text.slice(at + 1))
  );
}

function unseenIn(text) {
  return [...text.matchAll(UNSEEN)].filter((match) => !joinsEmoji(text, match.index));
}

/** A text as nodes: what cannot be seen stands as a small labelled mark. */
function visible(text) {
  const nodes = [];
  let from = 0;
  for (const match of unseenIn(text)) {
    nodes.push(text.slice(from, match.index));
    const name = codeName(match[0]);
    nodes.push(make("span", { className: "unseen", title: `invisible character ${name}` }, name));
    from = match.index + match[0].length;
  }
  nodes.push(text.slice(from));
  return nodes.filter((node) => node !== "");
}

/** Words, numbers and single signs of a text, with where they stand; spaces are left out. */
function words(text) {
  const pattern = /[\p{L}\p{N}\p{M}]+(?:['\u2019.\-][\p{L}\p{N}]+)*|\S/gu;
  return [...text.matchAll(pattern)].map((match) => ({
    text: match[0],
    start: match.index,
    end: match.index + match[0].length,
  }));
}

const MOST_CELLS = 4_000_000; // of the table below; longer texts count as rewritten

/** Which words of two texts stand in both, in order (the longest common subsequence). */
function common(before, after) {
  const kept = [new Set(), new Set()];
  let head = 0;
  while (head < before.length && head < after.length && before[head].text === after[head].text) {
    kept[0].add(head);
    kept[1].add(head++);
  }
  let [left, right] = [before.length, after.length];
  while (left > head && right > head && before[left - 1].text === after[right - 1].text) {
    kept[0].add(--left);
    kept[1].add(--right);
  }
  const [rows, columns] = [left - head, right - head];
  if (rows * columns > MOST_CELLS) return kept;
  const width = columns + 1;
  const table = new Uint32Array((rows + 1) * width);
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      table[i * width + j] =
        before[head + i].text === after[head + j].text
          ? table[(i + 1) * width + j + 1] + 1
          : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
    }
  }
  for (let i = 0, j = 0; i < rows && j < columns; ) {
    if (before[head + i].text === after[head + j].text) {
      kept[0].add(head + i++);
      kept[1].add(head + j++);
    } else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) i++;
    else j++;
  }
  return kept;
}

/** Where the words that are not kept stand; neighbours join, with a space or sign between them. */
function changedRanges(tokens, kept) {
  const ranges = [];
  let joins = false;
  tokens.forEach((token, index) => {
    const isSign = !/[\p{L}\p{N}]/u.test(token.text);
    const within = joins && isSign && index + 1 < tokens.length && !kept.has(index + 1);
    if (kept.has(index) && !within) joins = false;
    else if (joins) ranges.at(-1).end = token.end;
    else {
      ranges.push({ start: token.start, end: token.end });
      joins = true;
    }
  });
  return ranges;
}

const REWRITTEN = 0.25; // under this share of common words, marking single ones only disturbs

/** What was taken from `clean` and what was added in `harmful`, as ranges of each. */
function difference(clean, harmful) {
  const [before, after] = [words(clean), words(harmful)];
  const [keptBefore, keptAfter] = common(before, after);
  const isWord = (token) => /[\p{L}\p{N}]/u.test(token.text);
  const inBoth = before.filter((token, index) => keptBefore.has(index) && isWord(token)).length;
  const all = before.filter(isWord).length + after.filter(isWord).length;
  const rewritten = clean !== harmful && all > 0 && (2 * inBoth) / all < REWRITTEN;
  return {
    rewritten,
    deleted: changedRanges(before, rewritten ? new Set() : keptBefore),
    inserted: changedRanges(after, rewritten ? new Set() : keptAfter),
  };
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
