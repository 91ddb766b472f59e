import { Chart } from "./chart.js";
import { changeRoom, Panel, readRoom } from "./conditions.js";
import { Mesh } from "./mesh.js";
import { Signaling } from "./signaling.js";
import { banner, byId, chip, log, Tiles } from "./view.js";

const PERMISSION = 8_000;

const address = new URL(location.href);
let room = "";
let name = "";
let signaling = null;
let tiles = null;
let status = "closed";
/** What this page has changed in the room. A room that everyone left forgets it. */
let changed = null;
/** The latest reading of the room that was asked for, and the latest that is shown. */
let [reading, shown] = [0, 0];

const mesh = new Mesh({ send: (message) => signaling?.send(message), log, changed: render });
const chart = new Chart({
  svg: byId("chart"),
  top: byId("chart-top"),
  processed: byId("processed-count"),
  ignored: byId("ignored-count"),
});

const panel = new Panel(byId("conditions"), change);

function onMessage(message) {
  const { type, peer, peers } = message;
  if (type === "joined" || type === "left") log("plain", `${peer} ${type}`);
  if (type === "peers" && peers.length === 0 && changed) change(changed);
  mesh.receive(message);
}

async function change(conditions) {
  changed = conditions;
  try {
    await changeRoom(room, conditions);
    log("plain", summary(conditions));
  } catch (error) {
    log("bad", error.message);
  }
  showRoom();
}

function summary({ layer, repeat, delay_ms: delay, lose_answers: lose }) {
  const repeated = repeat > 0 ? `each offer arrives ${repeat + 1} times (${delay} ms)` : "each offer arrives once";
  return `Layer ${layer ? "on" : "off"}, ${repeated}${lose ? ", answers get lost" : ""}`;
}

function onStatus({ state, reason, wait }) {
  status = state;
  if (state === "open") {
    chip("socket", "good", "Connected");
    banner("");
    log("plain", "Joined the room");
  } else if (state === "connecting") {
    chip("socket", "plain", "Connecting");
  } else {
    mesh.clear();
    chip("socket", "bad", state === "lost" ? `Reconnecting in ${Math.ceil(wait / 1000)} s` : "Closed");
    banner(state === "closed" ? `Disconnected: ${reason}.` : "");
    log("bad", `Socket closed: ${reason}`);
  }
  render();
}

function render() {
  tiles?.show({ self: name, media: mesh.media, remotes: mesh.remotes, status });
  const alone = status !== "open" || mesh.remotes.size === 0;
  for (const id of ["send-offers", "copies", "restart"]) byId(id).disabled = alone;
  byId("rejoin").disabled = status !== "open";
  byId("panel-fields").disabled = status !== "open";
}

async function join(event) {
  event.preventDefault();
  room = byId("room-name").value.trim();
  name = byId("peer-name").value.trim();
  sessionStorage.setItem("name", name);
  byId("join-button").disabled = true;
  if (byId("use-media").checked) {
    byId("lobby-note").textContent = "Asking for camera and microphone …";
    await Promise.race([openMedia(), new Promise((resolve) => setTimeout(resolve, PERMISSION))]);
  }
  // Before the socket opens, so that the chart has the first offer of this page.
  chart.start(counters(await readRoom(room, name).catch(() => null)));
  byId("join-button").disabled = false;
  byId("lobby-note").textContent = "";
  enter();
}

function enter() {
  address.search = new URLSearchParams({ room });
  history.replaceState(null, "", address);
  document.title = `${room} · Offer room`;
  byId("room-title").textContent = room;
  byId("lobby").hidden = true;
  byId("room").hidden = false;
  tiles ??= new Tiles(byId("tiles"));
  signaling = new Signaling({
    room,
    peer: name,
    onMessage,
    onStatus,
  });
  signaling.open();
  showRoom();
}

function rejoin() {
  log("plain", "Rejoining");
  mesh.clear();
  signaling.open();
}

function leave() {
  mesh.clear();
  signaling.close();
  closeMedia();
  status = "closed";
  changed = null;
  room = "";
  byId("room").hidden = true;
  byId("lobby").hidden = false;
}

/** Opens camera and microphone, or only one of them, or neither. */
async function openMedia() {
  for (const wanted of [{ video: true, audio: true }, { video: true }, { audio: true }]) {
    try {
      useMedia(await navigator.mediaDevices.getUserMedia(wanted));
      return;
    } catch (error) {
      if (error.name === "NotAllowedError") break;
    }
  }
  log("plain", "No camera or microphone: data channel only");
}

function useMedia(media) {
  mesh.media = media;
  if (signaling) log("plain", "Camera and microphone are ready. Rejoin to share them");
  for (const [id, tracks] of [["microphone", media.getAudioTracks()], ["camera", media.getVideoTracks()]]) {
    const button = byId(id);
    button.hidden = tracks.length === 0;
    button.ariaPressed = "true";
    button.onclick = () => {
      const on = button.ariaPressed !== "true";
      button.ariaPressed = String(on);
      for (const track of tracks) track.enabled = on;
    };
  }
  render();
}

function closeMedia() {
  for (const track of mesh.media?.getTracks() ?? []) track.stop();
  mesh.media = null;
  byId("microphone").hidden = byId("camera").hidden = true;
}

/** Shows the room's conditions and counters. */
async function showRoom() {
  if (document.hidden || status !== "open") return;
  const asked = { room, number: (reading += 1) };
  let report = null;
  try {
    report = await readRoom(room, name);
  } catch {
    // The socket reports the same problem, and more visibly.
  }
  // Counters of an earlier reading are out of date.
  if (!report || asked.room !== room || asked.number < shown) return;
  shown = asked.number;
  const { conditions, calls } = report;
  chart.add(counters(report));
  panel.show(conditions);
  chip("dedup", conditions.layer ? "good" : "bad", conditions.layer ? "Layer on" : "Layer off");
  chip("repeat", "warn", conditions.repeat > 0 ? `Every offer arrives ${conditions.repeat + 1} times` : "");
  for (const [peer, remote] of mesh.remotes) Object.assign(remote, calls[peer] ?? { copies: 0, passed: 0 });
  render();
}

/** The offers of a room so far. A room that nobody is in has none. */
function counters(report) {
  return { processed: report?.offers_passed ?? 0, ignored: report?.offers_ignored ?? 0 };
}

/** Spaces alone are no name. */
function checkNames() {
  for (const field of [byId("room-name"), byId("peer-name")]) {
    field.setCustomValidity(field.value.trim() ? "" : "Enter a name");
  }
}

const NAMES = ["Ada", "Bela", "Chidi", "Dora", "Emil", "Fatima", "Gita", "Hugo", "Ines", "Jun", "Kofi", "Lea"];

const below = (limit) => Math.floor(Math.random() * limit);
byId("room-name").value = address.searchParams.get("room") ?? "lounge";
byId("peer-name").value = sessionStorage.getItem("name") ?? `${NAMES[below(NAMES.length)]} ${10 + below(90)}`;
if (!navigator.mediaDevices) {
  byId("use-media").checked = false;
  byId("use-media").disabled = true;
  byId("media-note").hidden = false;
}
checkNames();
byId("join").addEventListener("input", checkNames);
byId("join").addEventListener("submit", join);
byId("rejoin").onclick = byId("banner-button").onclick = rejoin;
byId("leave").onclick = leave;
byId("send-offers").onclick = () => {
  for (const peer of mesh.remotes.keys()) mesh.offer(peer, Number(byId("copies").value));
};
byId("restart").onclick = () => {
  for (const peer of mesh.remotes.keys()) mesh.restart(peer);
};
setInterval(showRoom, 1_000);

// For scripts that drive the page.
window.__room = {
  offer: (name) => mesh.offer(name),
  get socket() {
    return status;
  },
  get offers() {
    return structuredClone(mesh.offers);
  },
  get peers() {
    const entries = [...mesh.remotes.values()].map(({ name, state, made, total, pings, rtts }) => [
      name,
      { state, made, total, pings, rtt: rtts.at(-1) ?? null },
    ]);
    return Object.fromEntries(entries);
  },
};
