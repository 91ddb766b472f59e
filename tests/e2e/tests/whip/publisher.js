// A page that publishes over `fetch` as RFC 9725 describes. It never repeats a request itself.

async function camera() {
  return navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 320, height: 240 } });
}

async function publish(endpoint) {
  const pc = (window.pc = new RTCPeerConnection());
  const candidates = [];
  const gathered = new Promise((resolve) => {
    pc.onicecandidate = ({ candidate }) => (candidate ? candidates.push(candidate) : resolve());
  });
  const media = await camera();
  for (const track of media.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [media] });
  await pc.setLocalDescription();
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: pc.localDescription.sdp,
  });
  window.session = new URL(response.headers.get("Location"), endpoint);
  window.etag = response.headers.get("ETag");
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });

  await gathered;
  const lines = candidates.filter(({ sdpMLineIndex }) => sdpMLineIndex === 0).map(({ candidate }) => `a=${candidate}\r\n`);
  const fragment = `${ice(pc.localDescription.sdp)}${lines.join("")}a=end-of-candidates\r\n`;
  window.trickled = (await change(fragment, window.etag)).status;
}

async function restartIce() {
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
  const response = await change(ice(pc.localDescription.sdp), "*");
  window.etag = response.headers.get("ETag");
  const fragment = await response.text();
  // The new answer is the old one with the ICE attributes of the fragment.
  const answer = pc.currentRemoteDescription.sdp
    .replaceAll(/a=candidate:.*\r\n/g, "")
    .replaceAll(/a=ice-ufrag:.*\r\n/g, line(fragment, "ice-ufrag"))
    .replaceAll(/a=ice-pwd:.*\r\n/g, line(fragment, "ice-pwd") + line(fragment, "candidate"));
  await pc.setRemoteDescription({ type: "answer", sdp: answer });
}

function change(fragment, etag) {
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": etag };
  return fetch(window.session, { method: "PATCH", headers, body: fragment });
}

function ice(sdp) {
  const lines = ["group", "mid", "ice-ufrag", "ice-pwd"].map((name) => line(sdp, name));
  return `${lines[0]}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n${lines.slice(1).join("")}`;
}

function line(sdp, name) {
  return `${sdp.match(new RegExp(`a=${name}:[^\r]*`))[0]}\r\n`;
}

async function publishWithEyevinn(endpoint) {
  const peerConnectionFactory = () => (window.pc = new RTCPeerConnection());
  const client = (window.client = new Eyevinn.WHIPClient({ endpoint, opts: {}, peerConnectionFactory }));
  await client.ingest(await camera());
}

function stop() {
  fetch(window.session, { method: "DELETE" }).then(() => pc.close());
}

/** The local ICE user fragment of the selected candidate pair. */
function iceName() {
  return pc.getSenders()[0].transport.iceTransport.getSelectedCandidatePair()?.local.usernameFragment;
}

// Shows errors to a test that times out.
addEventListener("unhandledrejection", ({ reason }) => document.body.append(String(reason)));
Object.assign(window, { publish, publishWithEyevinn, restartIce, iceName, stop });
