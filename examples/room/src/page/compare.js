// Two sides run the same calls at the same time: one room without the layer, one with it.

import { Panel } from "./conditions.js";
import { Side, sleep } from "./side.js";
import { byId } from "./view.js";

const SHOWN = 60;
const TEXTS = { calling: "Calling …", works: "The call works", fails: "The call is broken" };

const panel = new Panel(byId("conditions"), () => (changed = true));
const canvas = document.createElement("canvas");
Object.assign(canvas, { width: 160, height: 120 });
const context = canvas.getContext("2d");
const media = canvas.captureStream(10);

const sides = [false, true].map((layer) => ({ side: new Side({ layer, media }), view: open(layer) }));
let changed = true;
let paused = false;

/** Draws what Ann's camera would show: a clock that never stands still. */
function drawCamera() {
  const seconds = performance.now() / 1000;
  context.fillStyle = `hsl(${(seconds * 40) % 360} 45% 38%)`;
  context.fillRect(0, 0, 160, 120);
  context.fillStyle = "#fff";
  context.beginPath();
  context.arc(80 + 44 * Math.cos(seconds * 3), 52 + 30 * Math.sin(seconds * 3), 9, 0, 7);
  context.fill();
  context.font = "600 19px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(new Date().toLocaleTimeString([], { hour12: false }), 80, 59);
}

function open(layer) {
  const section = byId("side").content.firstElementChild.cloneNode(true);
  section.dataset.layer = layer ? "on" : "off";
  section.dataset.testid = layer ? "with" : "without";
  section.querySelector("h2").textContent = layer ? "With the layer" : "Without the layer";
  byId("sides").append(section);
  return section;
}

function show({ side, view }) {
  side.look();
  view.dataset.call = side.state;
  view.querySelector(".state").textContent = TEXTS[side.state];
  view.querySelector(".ann").getContext("2d").drawImage(canvas, 0, 0);
  const video = view.querySelector("video");
  if (video.srcObject !== side.ben.stream) video.srcObject = side.ben.stream;
  for (const [name, count] of [["works", side.works], ["failed", side.failed]]) {
    const number = view.querySelector(`.${name} dd`);
    number.textContent = count;
    number.classList.toggle("zero", count === 0);
  }
  const calls = side.calls.slice(-SHOWN).map((works) => {
    const item = document.createElement("li");
    item.className = works ? "works" : "fails";
    item.title = works ? "worked" : "failed";
    return item;
  });
  const list = view.querySelector(".calls");
  if (list.childElementCount !== calls.length || side.calls.length > SHOWN) list.replaceChildren(...calls);
  const copies = side.copies === 1 ? "1 copy of an offer" : `${side.copies} copies of offers`;
  view.querySelector(".summary").textContent = `${copies} → ${side.made} peer connections at Ann`;
}

function draw() {
  drawCamera();
  sides.forEach(show);
}

function banner(text) {
  byId("banner").hidden = !text;
  byId("banner").textContent = text;
}

async function run() {
  await Promise.all(sides.map(({ side }) => side.start()));
  for (;;) {
    if (paused || document.hidden) {
      await sleep(200);
      continue;
    }
    try {
      if (changed) {
        changed = false;
        await Promise.all(sides.map(({ side }) => side.change(panel.conditions)));
      }
      await Promise.all(sides.map(({ side }) => side.call()));
      banner("");
    } catch (error) {
      // A server that has restarted knows nothing of the rooms.
      changed = true;
      banner(`Calls have stopped: ${error.message}. Trying again.`);
      await sleep(1_000);
    }
  }
}

byId("pause").onclick = () => {
  paused = !paused;
  byId("pause").textContent = paused ? "Go on" : "Pause";
};

setInterval(draw, 100);
draw();
run();

// For scripts that drive the page.
window.__compare = {
  get sides() {
    return sides.map(({ side: { layer, works, failed, made, copies } }) => ({ layer, works, failed, made, copies }));
  },
};
