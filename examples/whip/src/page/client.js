// What the publisher's and the viewer's page share: they send an offer, several times if asked, and take the first answer.

const SPREAD = [50, 500];
const PATIENCE = 5_000;

export const byId = (id) => document.getElementById(id);

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A session at the endpoint, WHIP or WHEP. */
export class Session {
  sent = 0;
  replayed = 0;
  locations = new Set();
  #isClosed = false;

  constructor({ endpoint, token, changed }) {
    Object.assign(this, { endpoint, changed });
    this.authorization = token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** Sends the local offer now, and `copies - 1` times 50 to 500 ms later, as a network might. */
  async open(pc, copies) {
    const { sdp } = pc.localDescription;
    const first = this.#post(sdp);
    for (let copy = 1; copy < copies; copy += 1) {
      const delay = SPREAD[0] + Math.random() * (SPREAD[1] - SPREAD[0]);
      const send = () => this.#isClosed || this.#post(sdp);
      sleep(delay).then(send).catch((error) => console.debug("a copy failed:", error.message));
    }
    await pc.setRemoteDescription({ type: "answer", sdp: await first });
  }

  /** Deletes its sessions. Returns the statuses that the server answers with, null where it does not answer. */
  close() {
    if (this.#isClosed) return Promise.resolve([]);
    this.#isClosed = true;
    return Promise.all([...this.locations].map((url) => this.#delete(url)));
  }

  async #delete(url) {
    const signal = AbortSignal.timeout(PATIENCE);
    try {
      const options = { method: "DELETE", headers: this.authorization, keepalive: true, signal };
      return (await fetch(url, options)).status;
    } catch {
      return null;
    }
  }

  async #post(sdp) {
    this.sent += 1;
    const headers = { "Content-Type": "application/sdp", ...this.authorization };
    const response = await fetch(this.endpoint, { method: "POST", headers, body: sdp }).catch(() => {
      throw new Error("the server cannot be reached");
    });
    if (!response.ok) throw new Error(response.status === 401 ? "the token is missing or wrong" : await response.text());
    const url = new URL(response.headers.get("Location"), this.endpoint).href;
    this.locations.add(url);
    if (this.#isClosed) this.#delete(url);
    if (response.headers.has("Offer-Replayed")) this.replayed += 1;
    this.changed();
    return response.text();
  }
}

/** What a page says after its sessions were deleted. */
function outcomeOf(kind, text, statuses) {
  const failed = statuses.find((status) => status === null || status >= 400);
  if (failed === undefined) return [kind, `${text}: deleted`];
  return ["bad", `${text}: ${failed === null ? "the server did not answer" : `the server answered ${failed} to the DELETE`}`];
}

/** Runs a page's form. `begin` adds media to a connection, `describe` says what a connected page does. */
export function run({ role, begin, describe, autostart }) {
  const query = new URLSearchParams(location.search);
  byId("stream").value = query.get("stream") ?? "stage";
  let pc = null;
  let session = null;

  const state = (kind, text) => {
    byId("state").dataset.kind = kind;
    byId("state").textContent = text;
  };

  const show = () => {
    // Spaces alone are no name.
    byId("stream").setCustomValidity(byId("stream").value.trim() ? "" : "Enter a name");
    byId("start").disabled = pc !== null;
    byId("stop").disabled = pc === null;
    byId("other").search = new URLSearchParams({ stream: byId("stream").value.trim() });
    if (!session) return;
    const { sent, locations, replayed } = session;
    const sessions = locations.size === 1 ? "1 session" : `${locations.size} sessions`;
    const again = replayed > 0 ? `, ${replayed} got the same answer again` : "";
    byId("outcome").textContent = `${sent === 1 ? "1 offer" : `${sent} copies of one offer`} → ${sessions}${again}`;
    byId("outcome").dataset.kind = locations.size > 1 ? "bad" : sent > 1 ? "good" : "plain";
  };

  const stop = async (kind = "plain", text = "Stopped") => {
    const [ended, old] = [pc, session];
    pc = null;
    if (ended) {
      ended.onconnectionstatechange = null;
      for (const sender of ended.getSenders()) sender.track?.stop();
    }
    byId("video").srcObject = null;
    state(kind, text);
    show();
    const said = (await old?.close()) ?? [];
    // Last, for the server would end the session by itself when its connection closes.
    ended?.close();
    if (session === old && !pc && said.length > 0) state(...outcomeOf(kind, text, said));
  };

  const start = async () => {
    const name = byId("stream").value.trim();
    if (!name || pc) return;
    const connection = (pc = new RTCPeerConnection());
    session = new Session({
      endpoint: new URL(`${role}/${encodeURIComponent(name)}`, location.href),
      token: byId("token").value,
      changed: show,
    });
    state("warn", "Connecting");
    show();
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === "connected") state("good", describe(connection));
      if (connection.connectionState === "disconnected") state("warn", "Nothing arrives. Waiting for the server");
      if (["failed", "closed"].includes(connection.connectionState)) stop("bad", "The connection is lost");
    };
    try {
      await begin(connection);
      await connection.setLocalDescription();
      await session.open(connection, Number(byId("copies").value));
      // All media share one transport. The server closes it when it ends the session.
      const { transport } = connection.getTransceivers()[0].sender;
      transport.onstatechange = () => {
        if (transport.state === "closed" && pc === connection) stop("bad", "The server has ended the session");
      };
    } catch (error) {
      if (pc === connection) await stop("bad", `Failed: ${error.message}`);
    }
  };

  let frames = 0;
  const countFrames = async () => {
    const report = pc ? [...(await pc.getStats()).values()] : [];
    frames = report.find(({ type, kind }) => type === "inbound-rtp" && kind === "video")?.framesDecoded ?? 0;
  };

  byId("controls").onsubmit = (event) => {
    event.preventDefault();
    start();
  };
  byId("controls").oninput = show;
  byId("stop").onclick = () => stop();
  addEventListener("pagehide", () => session?.close());
  show();
  setInterval(() => {
    if (pc?.connectionState === "connected") state("good", describe(pc));
    countFrames();
  }, 500);

  fetch("stats")
    .then((response) => response.json())
    .then(({ token }) => {
      byId("token-field").hidden = !token;
      if (autostart && query.has("stream") && !token) start();
    })
    .catch(() => state("bad", "The server cannot be reached"));

  // For scripts that drive the page.
  window.__client = {
    get connection() {
      return pc?.connectionState ?? "none";
    },
    get outcome() {
      return session && { sent: session.sent, replayed: session.replayed, sessions: session.locations.size };
    },
    get frames() {
      return frames;
    },
  };
}
