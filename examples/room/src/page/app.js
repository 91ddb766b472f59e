import { Chart } from "./chart.js";
import { Mesh } from "./mesh.js";
import { Signaling } from "./signaling.js";
import { banner, byId, chip, log, Tiles } from "./view.js";

const PERMISSION = 8_000;

const address = new URL(location.href);
let name = "";
let signaling = null;
let tiles = null;
let status = "closed";

const mesh = new Mesh({ send: (message) => signaling?.send(message), log, changed: render });
const chart = new Chart({
  svg: byId("chart"),
  top: byId("chart-top"),
  processed: byId("processed-count"),
  ignored: byId("ignored-count"),
});

const handlers = {
  peers: ({ peers }) => mesh.peers(peers),
  joined: ({ peer }) => {
    log("plain", `${peer} joined`);
    mesh.joined(peer);
  },
  left: ({ peer }) => {
    log("plain", `${peer} left`);
    mesh.left(peer);
  },
  leave: ({ from }) => mesh.left(from),
  offer: ({ from, sdp, goesOn }) => mesh.onOffer(from, sdp, goesOn),
  answer: ({ from, sdp }) => mesh.onAnswer(from, sdp),
  candidate: ({ from, candidate }) => mesh.onCandidate(from, candidate),
  ignored: (notice) => mesh.onIgnored(notice),
  error: (notice) => mesh.onError(notice),
};

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
  tiles?.show(name, mesh.media, mesh.remotes);
  byId("send-offers").disabled = byId("restart").disabled = status !== "open" || mesh.remotes.size === 0;
}

async function join(event) {
  event.preventDefault();
  const room = byId("room-name").value.trim();
  name = byId("peer-name").value.trim();
  if (!room || !name) return;
  sessionStorage.setItem("name", name);
  byId("join-button").disabled = true;
  if (byId("use-media").checked) {
    byId("lobby-note").textContent = "Asking for camera and microphone …";
    await Promise.race([openMedia(), new Promise((resolve) => setTimeout(resolve, PERMISSION))]);
  }
  byId("join-button").disabled = false;
  byId("lobby-note").textContent = "";
  enter(room);
}

function enter(room) {
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
    onMessage: (message) => handlers[message.type]?.(message),
    onStatus,
  });
  signaling.open();
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

async function showStats() {
  if (document.hidden) return;
  try {
    const response = await fetch("stats");
    const stats = await response.json();
    chart.add({ processed: stats.offers_passed, ignored: stats.offers_ignored });
    const [window, cooldown] = [stats.window_ms, stats.cooldown_ms].map((ms) => `${ms / 1000} s`);
    if (stats.dedup) chip("dedup", "good", "Deduplication on", `window ${window}, cooldown ${cooldown}`);
    else chip("dedup", "bad", "Deduplication off");
    chip("repeat", "warn", stats.repeat > 0 ? `Every offer arrives ${stats.repeat + 1} times` : "");
  } catch {
    // The socket reports the same problem, and more visibly.
  }
}

const NAMES = ["Ada", "Bela", "Chidi", "Dora", "Emil", "Fatima", "Gita", "Hugo", "Ines", "Jun", "Kofi", "Lea"];

const below = (limit) => Math.floor(Math.random() * limit);
byId("room-name").value = address.searchParams.get("room") ?? "lounge";
byId("peer-name").value = sessionStorage.getItem("name") ?? `${NAMES[below(NAMES.length)]} ${10 + below(90)}`;
byId("join").addEventListener("submit", join);
byId("rejoin").onclick = byId("banner-button").onclick = rejoin;
byId("leave").onclick = leave;
byId("send-offers").onclick = () => {
  for (const peer of mesh.remotes.keys()) mesh.offer(peer, Number(byId("copies").value));
};
byId("restart").onclick = () => {
  for (const peer of mesh.remotes.keys()) mesh.restart(peer);
};
setInterval(showStats, 1_000);
showStats();

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
    const entries = [...mesh.remotes.values()].map(({ name, state, made, total, rtts }) => [
      name,
      { state, made, total, pings: rtts.length, rtt: rtts.at(-1) ?? null },
    ]);
    return Object.fromEntries(entries);
  },
};
