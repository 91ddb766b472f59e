// The socket to the room server, which reconnects when it breaks.

const FINAL = new Set([1000, 4001, 4002]);

export class Signaling {
  #socket = null;
  #timer = 0;
  #failures = 0;

  constructor({ room, peer, onMessage, onStatus }) {
    this.url = new URL(`ws/${encodeURIComponent(room)}`, location.href);
    this.url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    this.url.search = new URLSearchParams({ peer });
    this.onMessage = onMessage;
    this.onStatus = onStatus;
  }

  open() {
    this.close();
    this.onStatus({ state: "connecting" });
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#failures = 0;
      this.onStatus({ state: "open" });
    };
    socket.onmessage = ({ data }) => this.onMessage(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  close() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (!socket) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #closed(code, reason) {
    this.#socket = null;
    if (FINAL.has(code)) {
      this.onStatus({ state: "closed", reason });
      return;
    }
    const wait = Math.min(500 * 2 ** this.#failures, 10_000);
    this.#failures += 1;
    this.onStatus({ state: "lost", reason: reason || "no connection to the server", wait });
    this.#timer = setTimeout(() => this.open(), wait);
  }
}
