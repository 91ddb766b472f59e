const SECONDS = 60;
const ENDS = {
  deleted: "ended by its publisher",
  closed: "closed by its publisher",
  lost: "lost",
  never_connected: "never connected",
  failed: "failed",
  shutdown: "ended with the server",
};

const byId = (id) => document.getElementById(id);
const total = rates();
const rows = new Map();
let last = null;

/** Bits per second over the last minute, as far as known. */
function rates() {
  return { bytes: null, at: 0, bits: [] };
}

function measure(rates, bytes, now) {
  if (rates.bytes !== null) {
    // A restarted server counts from zero again.
    rates.bits.push(Math.max(0, (bytes - rates.bytes) * 8_000) / (now - rates.at));
    if (rates.bits.length > SECONDS) rates.bits.shift();
  }
  Object.assign(rates, { bytes, at: now });
  return rates.bits.at(-1) ?? 0;
}

function scaled(number, units, base = 1000) {
  const power = Math.min(units.length - 1, number < 1 ? 0 : Math.floor(Math.log(number) / Math.log(base)));
  const value = number / base ** power;
  return `${value.toFixed(power === 0 || value >= 100 ? 0 : 1)} ${units[power]}`;
}

const perSecond = (bits) => scaled(bits, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"]);
const size = (bytes) => scaled(bytes, ["B", "kB", "MB", "GB", "TB"]);
const count = (number) => number.toLocaleString("en");

function time(seconds) {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const [hours, minutes, rest] = parts.map((part) => String(part).padStart(2, "0"));
  return parts[0] > 0 ? `${parts[0]}:${minutes}:${rest}` : `${parts[1]}:${rest}`;
}

function curve(bits, most) {
  const points = bits.map((value, second) => `${SECONDS - bits.length + second},${(100 - (100 * value) / most).toFixed(1)}`);
  return points.length > 1 ? `M${points.join("L")}` : "";
}

/** The next larger round number. */
function ceiling(bits) {
  const power = 10 ** Math.floor(Math.log10(bits));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= bits);
}

function drawTotal() {
  const most = ceiling(Math.max(10_000, ...total.bits));
  const path = curve(total.bits, most);
  byId("curve").setAttribute("d", path);
  byId("area").setAttribute("d", path && `${path}L59,100L${SECONDS - total.bits.length},100Z`);
  byId("top").textContent = perSecond(most);
}

function row(number) {
  if (!rows.has(number)) {
    const item = byId("session").content.firstElementChild.cloneNode(true);
    const parts = ["stream", "client", "media", "rate", "packets", "time", "again", "watch"].map((name) => [name, item.querySelector(`.${name}`)]);
    rows.set(number, { item, rates: rates(), spark: item.querySelector("path"), ...Object.fromEntries(parts) });
  }
  return rows.get(number);
}

function codec({ codec, packets }) {
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = codec === "opus" ? "Opus" : codec;
  item.append(name, ` ${count(packets)}`);
  return item;
}

/** Browsers name several others before themselves. */
function nameOf(client) {
  return client.match(/(Firefox|Edg|HeadlessChrome|Chrome)\/\d+/)?.[0].replace("/", " ") ?? client;
}

function drawSession(session, now) {
  const shown = row(session.number);
  const { number, role, stream, client, state, end, seconds, packets, bytes, media } = session;
  const bits = measure(shown.rates, bytes, now);
  shown.item.dataset.state = state;
  shown.stream.textContent = stream;
  shown.item.dataset.role = role;
  shown.client.textContent = [`#${number} ${role}`, state === "ended" ? ENDS[end] : state, nameOf(client)].filter(Boolean).join(" · ");
  shown.again.textContent = again(session);
  shown.again.dataset.kind = session.copy_of || !last.dedup ? "bad" : "good";
  shown.watch.href = `watch?${new URLSearchParams({ stream })}`;
  shown.watch.hidden = role !== "publisher" || state === "ended";
  shown.media.replaceChildren(...media.map(codec));
  shown.rate.textContent = state === "ended" ? size(bytes) : perSecond(bits);
  shown.packets.textContent = count(packets);
  shown.time.textContent = time(seconds);
  shown.spark.setAttribute("d", state === "ended" ? "" : curve(shown.rates.bits, Math.max(1, ...shown.rates.bits) * 1.1));
  return shown.item;
}

/** What came of the copies of a session's offer. */
function again({ copy_of: original, repeats }) {
  if (original) return `made of a copy of the offer of #${original}`;
  if (repeats === 0) return "";
  const copies = repeats === 1 ? "1 repeat of its offer" : `${repeats} repeats of its offer`;
  return last.dedup ? `${copies} got the same answer` : `${copies} made ${repeats === 1 ? "another session" : "other sessions"}`;
}

function chip(id, kind, text) {
  Object.assign(byId(id), { textContent: text, hidden: false });
  byId(id).dataset.kind = kind;
}

function draw(stats) {
  const now = performance.now();
  if (last && stats.created < last.created) rows.clear();
  last = stats;
  const bits = measure(total, stats.bytes, now);
  drawTotal();
  // Publishers and viewers have a layer each.
  const sum = (wanted) =>
    [stats.offers, stats.viewer_offers]
      .flatMap(Object.entries)
      .filter(([name]) => wanted.test(name))
      .reduce((sum, [, number]) => sum + number, 0);
  const live = (role) => stats.sessions.filter((session) => session.role === role && session.state !== "ended").length;
  const texts = {
    live: count(stats.live),
    created: count(stats.created),
    rate: perSecond(bits),
    roles: `${count(live("publisher"))} publishing, ${count(live("viewer"))} watching`,
    total: `${size(stats.bytes)} received, ${size(stats.sent_bytes)} sent`,
    admitted: count(stats.dedup ? sum(/^admitted$/) : stats.created),
    failed: stats.dedup ? `${count(sum(/^failed$/))} failed` : "every one that came",
    replayed: count(stats.dedup ? sum(/^replayed$/) : stats.copies),
    refused: stats.dedup ? `got the same answer, ${count(sum(/^refused/))} refused` : "each made one more session",
  };
  for (const [id, text] of Object.entries(texts)) byId(id).textContent = text;
  chip("server", "good", "Online");
  if (stats.dedup) chip("dedup", "good", "Deduplication on");
  else chip("dedup", "bad", "Deduplication off");
  byId("token").hidden = !stats.token;

  byId("sessions").replaceChildren(...stats.sessions.map((session) => drawSession(session, now)));
  const known = new Set(stats.sessions.map(({ number }) => number));
  for (const number of rows.keys()) if (!known.has(number)) rows.delete(number);
  byId("empty").hidden = stats.sessions.length > 0;
  document.title = stats.live > 0 ? `${stats.live} live · WHIP endpoint` : "WHIP endpoint";
}

async function poll() {
  try {
    const response = await fetch("stats");
    draw(await response.json());
  } catch {
    chip("server", "bad", "Offline");
  }
}

const url = new URL("whip/stage", location.href);
byId("url").textContent = url;
byId("ffmpeg").textContent =
  `ffmpeg -re -i movie.mp4 -c:v libx264 -profile:v baseline -pix_fmt yuv420p -g 30 -c:a libopus -ac 2 -f whip ${url}`;
setInterval(poll, 1_000);
poll();
