// Publishes a camera, or a moving test picture where there is none.

import { byId, run } from "./client.js";

if (!navigator.mediaDevices) {
  byId("source").value = "test";
  byId("source").options[0].disabled = true;
  byId("note").textContent = "Browsers allow camera and microphone only over https or on localhost.";
}

async function begin(pc) {
  const media = byId("source").value === "camera" ? await camera() : testPicture();
  byId("video").srcObject = media;
  for (const track of media.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
}

async function camera() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360 } });
  } catch (error) {
    byId("note").textContent = `No camera and microphone (${error.message}): this is a test picture.`;
    return testPicture();
  }
}

function testPicture() {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: 640, height: 360 });
  const context = canvas.getContext("2d");
  const draw = () => {
    const seconds = performance.now() / 1000;
    context.fillStyle = `hsl(${(seconds * 30) % 360} 45% 36%)`;
    context.fillRect(0, 0, 640, 360);
    context.fillStyle = "#fff";
    context.beginPath();
    context.arc(320 + 200 * Math.cos(seconds * 2), 150 + 90 * Math.sin(seconds * 2), 26, 0, 7);
    context.fill();
    context.font = "600 64px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(new Date().toLocaleTimeString([], { hour12: false }), 320, 320);
  };
  draw();
  const media = canvas.captureStream(15);
  const timer = setInterval(() => {
    if (media.getVideoTracks()[0].readyState === "ended") clearInterval(timer);
    draw();
  }, 66);
  return media;
}

run({ role: "whip", begin, describe: () => "Live" });
