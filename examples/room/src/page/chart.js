// Offers of the last minute, one bar per second.

const SECONDS = 60;
const SVG = "http://www.w3.org/2000/svg";

export class Chart {
  #bars = [];
  #last = { processed: 0, ignored: 0 };

  constructor({ svg, top, processed, ignored }) {
    Object.assign(this, { svg, top, processed, ignored });
    svg.setAttribute("viewBox", `0 0 ${SECONDS} 100`);
    this.#bars = Array.from({ length: SECONDS }, (_, second) => ({
      counts: { processed: 0, ignored: 0 },
      processed: bar(svg, second, "processed"),
      ignored: bar(svg, second, "ignored"),
    }));
  }

  /** Clears the chart, which then shows what the server counts on top of `counters`. */
  start(counters) {
    this.#last = counters;
    for (const bar of this.#bars) bar.counts = { processed: 0, ignored: 0 };
    this.#draw();
  }

  /** Adds the server's counters, which only grow. Call it once a second. */
  add(counters) {
    const last = this.#last;
    this.#last = counters;
    const counts = this.#bars.map((bar) => bar.counts);
    counts.shift();
    // A restarted server, and a room that everyone has left, count from zero again.
    const since = (name) => (counters[name] < last[name] ? counters[name] : counters[name] - last[name]);
    counts.push({ processed: since("processed"), ignored: since("ignored") });
    this.#bars.forEach((bar, second) => (bar.counts = counts[second]));
    this.#draw();
  }

  #draw() {
    const most = Math.max(4, ...this.#bars.map(({ counts }) => counts.processed + counts.ignored));
    const sums = { processed: 0, ignored: 0 };
    for (const { counts, processed, ignored } of this.#bars) {
      sums.processed += counts.processed;
      sums.ignored += counts.ignored;
      place(processed, 0, counts.processed, most);
      place(ignored, counts.processed, counts.ignored, most);
    }
    this.top.textContent = most;
    this.processed.textContent = sums.processed;
    this.ignored.textContent = sums.ignored;
  }
}

function bar(svg, second, kind) {
  const rect = document.createElementNS(SVG, "rect");
  rect.setAttribute("class", kind);
  rect.setAttribute("x", second + 0.14);
  rect.setAttribute("width", 0.72);
  svg.append(rect);
  return rect;
}

function place(rect, from, count, most) {
  rect.setAttribute("y", 100 - (100 * (from + count)) / most);
  rect.setAttribute("height", (100 * count) / most);
}
