// The page's display. Names come from other people, so they are only ever set as text.

const ENTRIES = 200;

// Equal entries within this many milliseconds and this many entries are counted instead of repeated.
const TOGETHER = 2_000;
const RECENT = 8;

/** A peer that answers no ping for this many milliseconds is shown as silent. */
const SILENCE = 2_500;

export const byId = (id) => document.getElementById(id);

export function log(kind, text) {
  const list = byId("log");
  const now = Date.now();
  const same = [...list.children]
    .slice(0, RECENT)
    .find((entry) => entry.querySelector(".what").textContent === text && now - entry.dataset.time < TOGETHER);
  if (same) {
    same.dataset.count = Number(same.dataset.count) + 1;
    same.querySelector(".count").textContent = `× ${same.dataset.count}`;
    return;
  }
  const entry = clone("entry");
  entry.className = kind;
  Object.assign(entry.dataset, { kind, time: now, count: 1 });
  entry.querySelector("time").textContent = new Date().toLocaleTimeString([], { hour12: false });
  entry.querySelector(".what").textContent = text;
  list.prepend(entry);
  while (list.children.length > ENTRIES) list.lastElementChild.remove();
}

/** A status in the header. */
export function chip(id, kind, text) {
  const chip = byId(id);
  chip.hidden = !text;
  chip.dataset.kind = kind;
  chip.textContent = text;
}

export function banner(text) {
  byId("banner").hidden = !text;
  byId("banner-text").textContent = text;
}

const LOCAL = /^(localhost|127\..*|\[::1\])$/;

const ALONE = {
  open: "Nobody else is here yet.",
  connecting: "Connecting …",
  lost: "The server cannot be reached.",
  closed: "You are not in the room.",
};

export class Tiles {
  #tiles = new Map();
  #alone = clone("alone");

  constructor(container) {
    this.container = container;
    const field = this.#alone.querySelector("input");
    const button = this.#alone.querySelector("button");
    field.value = location.href;
    field.onfocus = () => field.select();
    button.onclick = async () => (button.textContent = (await copy(field)) ? "Copied" : "Copy it by hand");
    this.#alone.querySelector(".reach").textContent = LOCAL.test(location.hostname)
      ? "Open this address in another tab. For other machines, start the server with --listen 0.0.0.0:3000."
      : "Open this address in another tab, or on another machine.";
  }

  show({ self, media, remotes, status }) {
    const shown = new Set([self, ...remotes.keys()]);
    for (const [name, tile] of this.#tiles) {
      if (shown.has(name)) continue;
      tile.remove();
      this.#tiles.delete(name);
    }
    this.#showSelf(self, media, status);
    for (const remote of remotes.values()) this.#showRemote(remote);
    this.#alone.dataset.status = status;
    this.#alone.querySelector("strong").textContent = ALONE[status];
    if (remotes.size === 0) this.container.append(this.#alone);
    else this.#alone.remove();
    this.container.style.setProperty("--columns", columns(Math.max(2, shown.size)));
  }

  #showSelf(name, media, status) {
    const tile = this.#tile(name);
    tile.classList.add("self");
    tile.dataset.state = status === "open" ? "connected" : status;
    tile.querySelector(".who").textContent = `${name} (you)`;
    const video = tile.querySelector("video");
    video.muted = true;
    play(tile, media);
  }

  #showRemote(remote) {
    const tile = this.#tile(remote.name);
    const state = shownState(remote);
    tile.dataset.state = state;
    tile.querySelector(".who").textContent = remote.name;
    tile.querySelector(".state").textContent = state;
    const rtt = remote.rtts.at(-1);
    tile.querySelector(".rtt").textContent = rtt === undefined || state !== "connected" ? "" : `ping ${Math.max(1, Math.round(rtt))} ms`;
    tile.querySelector("polyline").setAttribute("points", spark(remote.rtts));
    tile.classList.toggle("pinged", state === "connected" && remote.rtts.length > 1);
    const made = tile.querySelector(".made");
    made.textContent = connections(remote);
    made.dataset.kind = kind(remote);
    const total = document.createElement("span");
    total.textContent = ` · ${remote.total} in total`;
    made.append(total);
    play(tile, remote.stream);
  }

  #tile(name) {
    let tile = this.#tiles.get(name);
    if (!tile) {
      tile = clone("tile");
      tile.dataset.peer = name;
      tile.setAttribute("aria-label", name);
      tile.style.setProperty("--hue", hue(name));
      tile.querySelector(".initials").textContent = initials(name);
      this.#tiles.set(name, tile);
      this.container.append(tile);
    }
    return tile;
  }
}

/** Browsers take long to notice that the other side has closed. Pings show it at once. */
function shownState({ state, heard }) {
  return state === "connected" && heard > 0 && performance.now() - heard > SILENCE ? "silent" : state;
}

/** Bad are more connections than different offers. The server counts those that the other side made. */
function kind({ made, copies, passed, offers }) {
  if (Math.max(made, passed) > offers.size) return "bad";
  return copies > offers.size ? "good" : "plain";
}

/** The peer connections made for the offers of both sides, since either joined. */
function connections({ made, copies, passed, offers }) {
  const most = Math.max(made, passed);
  const connections = most === 1 ? "1 connection" : `${most} connections`;
  if (copies <= offers.size) return connections;
  return `${copies} copies${offers.size > 1 ? ` of ${offers.size} offers` : ""} → ${connections}`;
}

/** Copies a field's text. Over plain HTTP there is no clipboard object. */
async function copy(field) {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.select();
    return document.execCommand("copy");
  }
}

function clone(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

function play(tile, stream) {
  const video = tile.querySelector("video");
  const seen = stream?.getVideoTracks().length > 0;
  tile.classList.toggle("with-video", seen);
  if (video.srcObject !== (stream ?? null)) video.srcObject = stream ?? null;
}

// Chooses the columns that keep tiles closest to the shape of a picture, in an area about twice as wide as high.
function columns(tiles) {
  return Math.ceil(Math.sqrt(tiles * 1.5));
}

function spark(values) {
  const most = Math.max(5, ...values);
  const start = 30 - values.length;
  return values.map((value, i) => `${(120 * (start + i)) / 29},${26 - (24 * value) / most}`).join(" ");
}

function initials(name) {
  const words = name.trim().split(/\s+/);
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

// Hues from teal to plum, on which white text is readable.
function hue(name) {
  const sum = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9973, 7);
  return 180 + (sum % 150);
}
