// One side of the comparison: Ann and Ben in a room of their own. Ben calls Ann by joining again.

import { changeRoom, readRoom } from "./conditions.js";
import { Mesh } from "./mesh.js";
import { Signaling } from "./signaling.js";

const PING = 100;
const ANSWER_WAIT = 1_000;
/** Time limit for a call to connect. */
const CONNECT = 10_000;
/** By then the last copy of an offer has arrived. */
const SETTLED = 800;
/** Time limit for the pings that show that a call still works. */
const PROOF = 2_000;
/** A call without a ping for this long is shown as broken. */
const QUIET = 500;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves to whether `check` became true within `most` milliseconds. */
async function becomes(check, most) {
  const end = performance.now() + most;
  while (!check()) {
    if (performance.now() > end) return false;
    await sleep(20);
  }
  return true;
}

class Person {
  #joined = () => {};
  /** When the last ping came back. */
  heard = 0;

  constructor({ room, name, other, media }) {
    Object.assign(this, { room, name, other });
    this.mesh = new Mesh({
      send: (message) => this.signaling.send(message),
      log: () => {},
      changed: () => this.#changed(),
      answerWait: ANSWER_WAIT,
      pingEvery: PING,
    });
    this.mesh.media = media;
    this.signaling = new Signaling({
      room,
      peer: name,
      onMessage: (message) => {
        this.mesh.receive(message);
        if (message.type === "peers") this.#joined();
      },
      onStatus: ({ state }) => {
        if (state !== "open" && state !== "connecting") this.mesh.clear();
      },
    });
  }

  /** Joins, or leaves and joins again. */
  join() {
    this.mesh.clear();
    this.heard = 0;
    return new Promise((resolve) => {
      this.#joined = resolve;
      this.signaling.open();
    });
  }

  get pings() {
    return this.mesh.remotes.get(this.other)?.pings ?? 0;
  }

  get stream() {
    return this.mesh.remotes.get(this.other)?.stream ?? null;
  }

  get hears() {
    return performance.now() - this.heard < QUIET;
  }

  #last = 0;

  #changed() {
    const { pings } = this;
    if (pings > this.#last) this.heard = performance.now();
    this.#last = pings;
  }
}

export class Side {
  works = 0;
  failed = 0;
  made = 0;
  copies = 0;
  calls = [];
  /** `calling`, `works` or `fails`. */
  state = "calling";

  constructor({ layer, media }) {
    this.layer = layer;
    const id = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.room = `side-by-side-${layer ? "with" : "without"}-${id}`;
    this.ann = new Person({ room: this.room, name: "Ann", other: "Ben", media });
    this.ben = new Person({ room: this.room, name: "Ben", other: "Ann", media: null });
  }

  start() {
    return this.ann.join();
  }

  change(conditions) {
    return changeRoom(this.room, { ...conditions, layer: this.layer });
  }

  /** Makes one call, and counts whether it works once all copies of its offer have arrived. */
  async call() {
    this.state = "calling";
    await this.ben.join();
    const connected = await becomes(() => this.ben.pings > 0 && this.ann.pings > 0, CONNECT);
    if (connected) {
      this.state = "works";
      await sleep(SETTLED);
    }
    const before = [this.ann.pings, this.ben.pings, this.#connections];
    // Ann counts pings from zero with each new connection.
    const proved = () =>
      this.#connections === before[2] && this.ann.pings > before[0] + 1 && this.ben.pings > before[1] + 1;
    const works = connected && (await becomes(proved, PROOF));
    this.state = works ? "works" : "fails";
    if (works) this.works += 1;
    else this.failed += 1;
    this.calls.push(works);
    this.made += this.#connections;
    const report = await readRoom(this.room, "Ann");
    this.copies = report ? report.offers_passed + report.offers_ignored : this.copies;
  }

  /** Updates the state of a call that broke after it had connected. */
  look() {
    if (this.state === "works" && !this.ben.hears) this.state = "fails";
  }

  get #connections() {
    return this.ann.mesh.remotes.get("Ben")?.made ?? 0;
  }
}
