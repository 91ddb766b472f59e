// Watches a stream. Its publisher may come later.

import { byId, run } from "./client.js";

const video = byId("video");

async function begin(pc) {
  const media = new MediaStream();
  video.srcObject = media;
  for (const kind of ["audio", "video"]) media.addTrack(pc.addTransceiver(kind, { direction: "recvonly" }).receiver.track);
}

const describe = () => (video.videoWidth > 0 ? "Watching" : "Connected. Waiting for a publisher");

byId("note").textContent = "The sound is off until you turn it on in the picture.";
video.controls = true;
run({ role: "whep", begin, describe, autostart: true });
