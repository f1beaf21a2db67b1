"use strict";
// The picture beside the texts, and at full size in a dialog that scrolls and zooms.

const decoded = new Map(); // the shown picture and the next one: [index, <img> source]
let scale = 1; // of the picture at full size
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

function fitScale() {
  const { clientWidth, clientHeight } = byId("viewer-stage");
  const { naturalWidth, naturalHeight } = byId("viewer-image");
  return Math.min(clientWidth / (naturalWidth || 1), clientHeight / (naturalHeight || 1));
}

const fit = () => zoom(fitScale() / scale);

/** Zoom so that the middle of the stage stays where it is. */
function zoom(factor) {
  const [stage, image, fits] = [byId("viewer-stage"), byId("viewer-image"), fitScale()];
  scale = Math.min(MOST_ZOOM * Math.max(1, fits), Math.max(Math.min(1, fits), scale * factor));
  const before = image.width || 1;
  image.style.width = `${image.naturalWidth * scale}px`;
  const grown = image.width / before;
  const moved = (at, size) => at * grown + (size / 2) * (grown - 1);
  stage.scrollTo(moved(stage.scrollLeft, stage.clientWidth), moved(stage.scrollTop, stage.clientHeight));
  byId("viewer-scale").textContent = `${Math.round(scale * 100)} %`;
}

function startViewer() {
  byId("viewer-in").addEventListener("click", () => zoom(1.4));
  byId("viewer-out").addEventListener("click", () => zoom(1 / 1.4));
  byId("viewer-fit").addEventListener("click", fit);
  byId("viewer-image").addEventListener("load", () => byId("viewer").open && fit());
  addEventListener("resize", () => byId("viewer").open && fit());
}
