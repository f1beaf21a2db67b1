"use strict";
// The picture beside the texts, and at full size in a dialog: zoom, pan, pinch.

const decoded = new Map(); // the shown picture and the next one: [index, <img> source]
const viewer = { scale: 1, x: 0, y: 0, fingers: new Map() };
const MOST_ZOOM = 8; // times the picture's own pixels, or what fits the window if that is more

/** The picture as a data address, or null while the file is still being read. */
function pictureSource(index) {
  if (!decoded.has(index)) {
    const holder = document.getElementById(`picture-${index}`);
    // The last one may be there in part only while the file loads.
    if (!holder || (document.readyState === "loading" && !holder.nextElementSibling)) return null;
    decoded.set(index, `data:${data.pictures[index].kind};base64,${holder.textContent}`);
  }
  return decoded.get(index);
}

function showPicture(item, next) {
  const image = byId("image");
  const { size, copy } = data.pictures[item.picture];
  const about = [item.modality, `${size[0]} \u00d7 ${size[1]} pixels`];
  if (copy) about.push(`smaller copy: ${copy[0]} \u00d7 ${copy[1]}`);
  byId("picture-about").replaceChildren(...visible(about.filter(Boolean).join(" \u00b7 ")));
  byId("item-id").replaceChildren(...visible(item.id));
  byId("picture-button").setAttribute("aria-label", `Picture, ${about.join(", ")}: open at full size`);
  for (const index of decoded.keys()) {
    if (index !== item.picture && index !== next?.picture) decoded.delete(index);
  }
  const source = pictureSource(item.picture);
  byId("picture-missing").hidden = source !== null;
  image.hidden = source === null;
  if (source !== null && image.src !== source) image.src = source;
  if (next) setTimeout(() => prepare(next.picture), 0);
}

/** Decode the next picture while this one is looked at. */
function prepare(index) {
  const source = pictureSource(index);
  if (source === null) return;
  const image = new Image();
  image.src = source;
  image.decode().catch(() => {}); // a damaged one says so when it is shown
}

function openViewer() {
  const item = current();
  const source = item && pictureSource(item.picture);
  if (!source) return;
  byId("viewer-image").src = source;
  byId("viewer-about").textContent = byId("picture-about").textContent;
  openDialog("viewer");
  fit();
}

function stage() {
  const box = byId("viewer-stage").getBoundingClientRect();
  const image = byId("viewer-image");
  return { box, width: image.naturalWidth || 1, height: image.naturalHeight || 1 };
}

function fitScale() {
  const { box, width, height } = stage();
  return Math.min(box.width / width, box.height / height);
}

function fit() {
  viewer.scale = fitScale();
  place();
}

/** Draw the picture at its scale; what is smaller than the stage is centred, the rest has edges. */
function place() {
  const { box, width, height } = stage();
  const inside = (at, whole, room) => (whole <= room ? (room - whole) / 2 : Math.min(0, Math.max(room - whole, at)));
  viewer.x = inside(viewer.x, width * viewer.scale, box.width);
  viewer.y = inside(viewer.y, height * viewer.scale, box.height);
  byId("viewer-image").style.transform = `translate(${viewer.x}px, ${viewer.y}px) scale(${viewer.scale})`;
  byId("viewer-scale").textContent = `${Math.round(viewer.scale * 100)} %`;
}

/** Zoom so that the point (in the stage, default its middle) stays where it is. */
function zoom(factor, point) {
  const { box } = stage();
  const { x, y } = point ?? { x: box.width / 2, y: box.height / 2 };
  const fits = fitScale();
  const most = MOST_ZOOM * Math.max(1, fits);
  const scale = Math.min(most, Math.max(Math.min(1, fits), viewer.scale * factor));
  viewer.x = x - ((x - viewer.x) * scale) / viewer.scale;
  viewer.y = y - ((y - viewer.y) * scale) / viewer.scale;
  viewer.scale = scale;
  place();
}

function pan(x, y) {
  viewer.x += x;
  viewer.y += y;
  place();
}

function viewerKey(event) {
  const step = 80;
  const keys = {
    "+": () => zoom(1.4),
    "=": () => zoom(1.4),
    "-": () => zoom(1 / 1.4),
    0: fit,
    1: () => zoom(1 / viewer.scale),
    ArrowLeft: () => pan(step, 0),
    ArrowRight: () => pan(-step, 0),
    ArrowUp: () => pan(0, step),
    ArrowDown: () => pan(0, -step),
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

function within(event) {
  const { box } = stage();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/** One finger or the mouse moves the picture; two fingers zoom it, too. */
function viewerMove(event) {
  const before = viewer.fingers.get(event.pointerId);
  if (!before) return;
  const now = within(event);
  const other = [...viewer.fingers].find(([id]) => id !== event.pointerId)?.[1];
  viewer.fingers.set(event.pointerId, now);
  if (!other) return pan(now.x - before.x, now.y - before.y);
  const apart = (a, b) => Math.hypot(a.x - b.x, a.y - b.y) || 1;
  zoom(apart(now, other) / apart(before, other), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
}

function startViewer() {
  const area = byId("viewer-stage");
  byId("viewer").addEventListener("keydown", viewerKey);
  area.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 400), within(event));
  }, { passive: false });
  area.addEventListener("pointerdown", (event) => {
    area.setPointerCapture(event.pointerId);
    viewer.fingers.set(event.pointerId, within(event));
  });
  area.addEventListener("pointermove", viewerMove);
  for (const end of ["pointerup", "pointercancel"]) {
    area.addEventListener(end, (event) => viewer.fingers.delete(event.pointerId));
  }
  area.addEventListener("dblclick", (event) => {
    if (viewer.scale > fitScale() * 1.01) fit();
    else zoom(2.5, within(event));
  });
  byId("viewer-in").addEventListener("click", () => zoom(1.4));
  byId("viewer-out").addEventListener("click", () => zoom(1 / 1.4));
  byId("viewer-fit").addEventListener("click", fit);
  byId("viewer-image").addEventListener("load", () => byId("viewer").open && fit());
  addEventListener("resize", () => byId("viewer").open && fit());
}
