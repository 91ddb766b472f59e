// The original room manager's algorithm, written from its description. A Map remembers processed offers for 10 s by the
// first 100 characters of their JSON. A Set holds a peer while its offer is processed, and for 2 s after. Runs as an HTTP
// server (`serve MS`), or fills its own memory (`fill TEMPLATE COUNT WINDOW_MS PROBES`).

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';

class Offers {
  processed = new Map();
  processing = new Set();

  constructor(windowMs = 10_000, cooldownMs = 2_000) {
    this.windowMs = windowMs;
    this.cooldownMs = cooldownMs;
  }

  // Returns the result of `handle`, or undefined if the offer is dropped.
  async once(peer, offer, handle) {
    const fingerprint = `${peer} ${JSON.stringify(offer).substring(0, 100)}`;
    if (this.processed.has(fingerprint) || this.processing.has(peer)) return undefined;
    this.processing.add(peer);
    this.processed.set(fingerprint, Date.now());
    try {
      return await handle(offer);
    } finally {
      setTimeout(() => this.processed.delete(fingerprint), this.windowMs);
      setTimeout(() => this.processing.delete(peer), this.cooldownMs);
    }
  }
}

const ANSWER =
  'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n';

function serve(takesMs) {
  const offers = new Offers();
  let calls = 0;

  async function publish() {
    const session = calls++;
    if (takesMs > 0) await sleep(takesMs);
    return session;
  }

  async function answer(request, response, sdp) {
    const peer = `${request.url} ${request.headers.authorization ?? ''}`;
    const session = await offers.once(peer, { type: 'offer', sdp }, publish);
    if (session === undefined) {
      response.statusCode = 409;
      response.end();
    } else {
      response.statusCode = 201;
      response.setHeader('location', `/whip/session/${session}`);
      response.setHeader('content-type', 'application/sdp');
      response.end(ANSWER);
    }
  }

  const server = createServer({ keepAliveTimeout: 600_000, requestTimeout: 0 }, (request, response) => {
    if (request.method === 'GET' && request.url === '/calls') {
      response.end(String(calls));
      return;
    }
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => answer(request, response, Buffer.concat(chunks).toString()));
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
    console.log(`listening 127.0.0.1:${server.address().port}`);
  });
}

async function fill(template, count, windowMs, probes) {
  const offers = new Offers(windowMs);
  const text = readFileSync(template, 'latin1');
  const own = [['o=- ', 19], ['a=ice-ufrag:', 4], ['a=ice-pwd:', 24]].flatMap(([field, length]) =>
    [...text.matchAll(field)].map(({ index }) => [index + field.length, length]),
  );
  const bytes = Buffer.from(text, 'latin1');
  let calls = 0;

  // A new flat string, like a body that was read.
  function offer(peer) {
    const digits = String(peer).padStart(19, '0');
    for (const [at, length] of own) {
      const used = digits.slice(-Math.min(length, digits.length));
      bytes.write(used, at + length - used.length, 'latin1');
    }
    return { type: 'offer', sdp: bytes.toString('latin1') };
  }
  const send = (peer) => offers.once(`/whip/${peer} Bearer token-of-${peer}`, offer(peer), async () => calls++);

  globalThis.gc();
  const { rss } = process.memoryUsage();
  console.log(`start ${rss}\nbase ${rss}`);
  for (let peer = 0; peer < count; peer += 1) {
    await send(peer);
    if (peer % 1_000 === 0) await setImmediate(); // lets timers run
    if (peer % 10_000 === 0) console.log(`offers ${peer}`);
  }
  console.log(`offers ${count}`);
  globalThis.gc();
  console.log(`rss ${process.memoryUsage().rss}`);
  calls = 0;
  for (let probe = 0; probe < probes; probe += 1) await send(Math.floor((probe * count) / probes));
  console.log(`known ${probes - calls}`);
}

// The parent process is gone when the pipe closes.
process.stdin.on('end', () => process.exit()).resume();

const [command, ...args] = process.argv.slice(2);
if (command === 'serve') serve(Number(args[0]));
else await fill(args[0], ...args.slice(1).map(Number)).then(() => process.exit());
