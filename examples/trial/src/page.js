// The trial's part of the page: it clicks the page's own buttons, and reads the state that the page exposes to scripts.

const at = (name) => window.__room.peers[name];
const offers = () => window.__room.offers;
const press = (id) => document.querySelector(`[data-testid=${id}]`).click();
const REOFFERS = [1_000, 2_000, 4_000];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Milliseconds from `start` until `check` was true, or null if that took longer than `most`. */
async function took(check, start, most) {
  for (;;) {
    const passed = performance.now() - start;
    const became = check();
    if (passed > most) return null;
    if (became) return passed;
    await sleep(2);
  }
}

window.__trial = {
  /**
   * Rejoins, and sends the offer of a new connection at each of `REOFFERS` while no answer has come. Resolves after
   * `within` with the time of the first ping back from `name`.
   */
  async rejoin(name, within) {
    const { answered, ignored } = offers();
    const reoffer = () => offers().answered === answered && window.__room.offer(name);
    const start = performance.now();
    press("rejoin");
    const reoffers = REOFFERS.map((wait) => setTimeout(reoffer, wait));
    const after = await took(() => at(name)?.pings > 0, start, within);
    await sleep(start + within - performance.now());
    reoffers.forEach(clearTimeout);
    return { after, refused: offers().ignored - ignored };
  },

  /** Rejoins, and restarts ICE `pause` after the answer. Resolves after `within` with the time of the new answer. */
  async restart(name, pause, within) {
    const joins = offers().answered;
    press("rejoin");
    await took(() => offers().answered > joins, performance.now(), within);
    await sleep(pause);
    const { answered, ignored } = offers();
    const start = performance.now();
    press("restart");
    const after = await took(() => offers().answered > answered, start, within);
    await sleep(start + within - performance.now());
    return { after, refused: offers().ignored - ignored };
  },

  /** Whether the page is connected and gets one more ping back, and its connections since `name` joined. */
  async works(name, within) {
    const before = at(name)?.pings ?? 0;
    const again = () => at(name)?.state === "connected" && at(name).pings > before;
    const works = (await took(again, performance.now(), within)) !== null;
    return { works, made: at(name)?.made ?? 0 };
  },
};
