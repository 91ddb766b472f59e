// Peer connections to everyone in the room, made as many applications make them: each offer that arrives gets a new
// RTCPeerConnection in place of the previous one. A duplicated offer breaks exactly that. Only an offer marked
// `goesOn`, which restarts ICE, is applied to the existing connection.

const RETRY = 1_000;
const STUCK = 8_000;

// Identify an offer to the eye. The layer compares more fields.
const IDENTITY = [/^o=.*/m, /^a=ice-ufrag:.*/m];

export class Mesh {
  remotes = new Map();
  media = null;
  offers = { sent: 0, received: 0, answered: 0, ignored: 0, reasons: {} };
  #totals = new Map();
  /** The number of the latest offer. Answers and notices name it. It starts at random: an earlier page had others. */
  #number = Math.floor(Math.random() * 2 ** 32);

  /** `answerWait` and `pingEvery` are in milliseconds. */
  constructor({ send, log, changed, answerWait = 3_000, pingEvery = 1_000 }) {
    Object.assign(this, { send, log, changed, answerWait, pingEvery });
  }

  /** Handles a message of the server or of a peer. */
  receive(message) {
    const { from, sdp, number, candidate, peer, goesOn } = message;
    const handlers = {
      peers: () => this.#peers(message.peers),
      joined: () => this.#joined(peer),
      left: () => this.#left(peer),
      leave: () => this.#left(from),
      offer: () => this.#onOffer(from, sdp, number, goesOn),
      answer: () => this.#onAnswer(from, sdp, number),
      candidate: () => this.#onCandidate(from, candidate),
      ignored: () => this.#onIgnored(message),
      error: () => this.#onError(message),
    };
    handlers[message.type]?.();
  }

  /** The peers that were there when this page joined. Each of them gets an offer. */
  #peers(names) {
    this.clear();
    for (const name of names) {
      this.#remote(name);
      this.offer(name);
    }
  }

  #joined(name) {
    this.#left(name);
    this.#remote(name);
  }

  #left(name) {
    this.#drop(this.remotes.get(name));
    this.remotes.delete(name);
    this.changed();
  }

  clear() {
    for (const name of [...this.remotes.keys()]) this.#left(name);
  }

  /** Makes a new connection to a peer, and sends its offer `copies` times. */
  async offer(name, copies = 1) {
    const remote = this.#remote(name);
    const pc = this.#connect(remote, { offering: true });
    await pc.setLocalDescription();
    if (remote.pc !== pc) return;
    remote.offers.add(identity(pc.localDescription.sdp));
    remote.number = this.#number += 1;
    for (let copy = 0; copy < copies; copy += 1) this.#sendOffer(remote);
    this.log("sent", copies > 1 ? `Offer sent to ${name}, ${copies} times` : `Offer sent to ${name}`);
  }

  /** Restarts ICE on the existing connection, with another offer. */
  async restart(name) {
    const remote = this.remotes.get(name);
    const pc = remote?.pc;
    if (!pc?.remoteDescription || pc.signalingState !== "stable") return;
    pc.restartIce();
    await pc.setLocalDescription();
    if (remote.pc !== pc) return;
    remote.answered = false;
    remote.number = this.#number += 1;
    this.#sendOffer(remote);
    this.log("sent", `ICE restart sent to ${name}`);
  }

  async #onOffer(name, sdp, number, goesOn) {
    this.offers.received += 1;
    const remote = this.#remote(name);
    let { pc } = remote;
    if (goesOn && pc) {
      this.log("received", `ICE restart from ${name}`);
    } else {
      pc = this.#connect(remote, { offering: false });
      remote.offers.add(identity(sdp));
      this.log("received", `Offer from ${name}: made ${remote.made > 1 ? "another" : "a"} peer connection`);
    }
    try {
      await pc.setRemoteDescription({ type: "offer", sdp });
      await this.#takeEarly(remote, pc);
      await pc.setLocalDescription();
      this.send({ type: "answer", to: name, number, sdp: pc.localDescription.sdp });
    } catch (error) {
      this.log("bad", `Offer from ${name} failed: ${error.message}`);
    }
  }

  async #onAnswer(name, sdp, number) {
    const remote = this.remotes.get(name);
    if (!remote?.pc) return;
    // Applied to a newer offer, it would break the call: the two connections have different ICE credentials.
    if (number !== undefined && number !== remote.number) {
      this.log("ignored", `${name} answered an earlier offer`);
      return;
    }
    const { pc } = remote;
    if (pc.signalingState !== "have-local-offer") {
      this.log("bad", `${name} answered again, but no offer is waiting`);
      return;
    }
    remote.answered = true;
    try {
      await pc.setRemoteDescription({ type: "answer", sdp });
      this.offers.answered += 1;
      this.log("good", `${name} answered`);
      await this.#takeEarly(remote, pc);
    } catch (error) {
      this.log("bad", `Answer from ${name} failed: ${error.message}`);
    }
  }

  async #onCandidate(name, candidate) {
    const remote = this.remotes.get(name);
    if (remote?.pc?.remoteDescription) await add(remote.pc, candidate);
    else remote?.early.push(candidate);
  }

  /** The server ignored an offer. If the reason passes with time, the offer is sent again. */
  #onIgnored({ to, number, reason, retry_after_ms: wait }) {
    this.offers.ignored += 1;
    this.offers.reasons[reason] = (this.offers.reasons[reason] ?? 0) + 1;
    const remote = this.remotes.get(to);
    const why = WHY[reason] ?? reason;
    // The notice may be late: another offer, or another call, has begun meanwhile.
    if (number !== remote?.number) {
      this.log("ignored", `Earlier offer to ${to} ignored: ${why}`);
      return;
    }
    // The server passes an answer on before it refuses a copy as processed. So an answer that is not here is lost.
    if ((reason === "processed" || reason === "not_recorded") && isWaiting(remote)) {
      this.log("bad", `The answer of ${to} was lost: making another offer`);
      this.offer(to);
      return;
    }
    const retry = !FINAL.includes(reason);
    const text = `Offer to ${to} ignored: ${why}`;
    this.log("ignored", retry && wait ? `${text}, retrying in ${(wait / 1000).toFixed(1)} s` : text);
    if (retry) this.#retry(to, wait ?? RETRY);
  }

  #onError({ to, message }) {
    this.log("bad", to ? `${to}: ${message}` : message);
    this.#retry(to, RETRY);
  }

  /** Sends the offer again if it still waits for its answer then. */
  #retry(name, wait) {
    const remote = this.remotes.get(name);
    if (!remote?.pc || remote.retry) return;
    remote.retry = setTimeout(() => {
      remote.retry = 0;
      this.#sendAgain(remote);
    }, wait);
  }

  #sendAgain(remote) {
    if (remote.retry || !isWaiting(remote)) return;
    this.#sendOffer(remote);
    this.log("sent", `Offer to ${remote.name} sent again`);
  }

  #sendOffer(remote) {
    this.offers.sent += 1;
    const { localDescription, currentRemoteDescription } = remote.pc;
    this.send({
      type: "offer",
      to: remote.name,
      number: remote.number,
      sdp: localDescription.sdp,
      goesOn: currentRemoteDescription !== null,
    });
    clearTimeout(remote.answerTimer);
    remote.answerTimer = setTimeout(() => this.#sendAgain(remote), this.answerWait);
  }

  #remote(name) {
    let remote = this.remotes.get(name);
    if (!remote) {
      const total = this.#totals.get(name) ?? 0;
      const timers = { retry: 0, ping: 0, connectTimer: 0, answerTimer: 0 };
      const counts = { number: 0, made: 0, total, copies: 0, passed: 0, offers: new Set() };
      remote = { name, pc: null, state: "waiting", ...counts, ...fresh(), ...timers };
      this.remotes.set(name, remote);
      this.changed();
    }
    return remote;
  }

  #connect(remote, { offering }) {
    this.#drop(remote);
    const pc = new RTCPeerConnection();
    Object.assign(remote, { pc, state: "connecting", ...fresh() });
    remote.made += 1;
    remote.total += 1;
    this.#totals.set(remote.name, remote.total);

    const mine = (handler) => (event) => {
      if (remote.pc === pc) handler(event);
    };
    pc.onicecandidate = mine(({ candidate }) => {
      if (candidate) this.send({ type: "candidate", to: remote.name, candidate });
    });
    pc.onconnectionstatechange = mine(() => {
      remote.state = pc.connectionState;
      if (remote.state === "connected") this.log("good", `Connected to ${remote.name}`);
      if (remote.state === "failed") this.log("bad", `Connection to ${remote.name} failed`);
      this.changed();
    });
    // Browsers need half a minute to report a failed connection.
    remote.connectTimer = setTimeout(() => {
      if (remote.state !== "connecting") return;
      remote.state = "stuck";
      this.log("bad", `No connection to ${remote.name} after ${STUCK / 1000} s`);
      this.changed();
    }, STUCK);
    pc.ontrack = mine(({ streams: [stream] }) => {
      remote.stream = stream;
      this.changed();
    });
    for (const track of this.media?.getTracks() ?? []) pc.addTrack(track, this.media);
    if (offering) {
      for (const kind of ["audio", "video"]) {
        const sending = this.media?.getTracks().some((track) => track.kind === kind);
        if (!sending) pc.addTransceiver(kind, { direction: "recvonly" });
      }
    }
    this.#pingOver(remote, pc.createDataChannel("ping", { negotiated: true, id: 0 }));
    this.changed();
    return pc;
  }

  #pingOver(remote, channel) {
    const ping = () => channel.readyState === "open" && channel.send(`ping ${performance.now()}`);
    channel.onopen = () => {
      ping();
      remote.ping = setInterval(ping, this.pingEvery);
    };
    channel.onmessage = ({ data }) => {
      const [kind, time] = data.split(" ");
      if (kind === "ping") {
        channel.send(`pong ${time}`);
        return;
      }
      remote.pings += 1;
      remote.heard = performance.now();
      remote.rtts = [...remote.rtts, performance.now() - Number(time)].slice(-30);
      this.changed();
    };
  }

  async #takeEarly(remote, pc) {
    for (const candidate of remote.early.splice(0)) await add(pc, candidate);
  }

  #drop(remote) {
    if (!remote?.pc) return;
    clearInterval(remote.ping);
    clearTimeout(remote.retry);
    clearTimeout(remote.connectTimer);
    clearTimeout(remote.answerTimer);
    remote.retry = 0;
    remote.pc.close();
    remote.pc = null;
    remote.state = "closed";
  }
}

const fresh = () => ({ answered: false, early: [], heard: 0, pings: 0, rtts: [], stream: null });

const identity = (sdp) => IDENTITY.map((line) => sdp.match(line)?.[0]).join(" ");

const isWaiting = (remote) => remote?.pc?.signalingState === "have-local-offer" && !remote.answered;

// Reasons that do not pass with time.
const FINAL = ["in_flight", "processed", "not_recorded", "superseded"];

const WHY = {
  in_flight: "the same offer is being processed",
  processed: "the same offer was processed",
  not_recorded: "the same offer was processed",
  superseded: "a newer offer has replaced it",
  busy: "another offer is being processed",
  cooling_down: "the last offer is too recent",
};

// A candidate of a replaced connection is useless, but not an error.
async function add(pc, candidate) {
  try {
    await pc.addIceCandidate(candidate);
  } catch (error) {
    console.debug("candidate ignored:", error.message);
  }
}
