"""Publishes through aiortc. The first argument says how the offer gets lost or repeated.

Prints one line of JSON once connected, and ends the session when standard input closes.
"""

import asyncio
import json
import sys
from urllib.parse import urlsplit

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack

way, url = sys.argv[1:]
host, path = urlsplit(url).netloc, urlsplit(url).path


async def read_response(reader):
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    start, *lines = head.split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    return {"status": int(start.split()[1]), "fields": fields, "body": body.decode()}


def message(method, path, body=b""):
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    if method == "POST":
        head += "Content-Type: application/sdp\r\nUser-Agent: aiortc\r\n"
    return f"{head}\r\n".encode() + body


async def connect():
    return await asyncio.open_connection(*host.split(":"))


async def send(request, size=None):
    """Sends a request, `size` bytes at a time."""
    reader, writer = await connect()
    for start in range(0, len(request), size or len(request)):
        writer.write(request[start : start + (size or len(request))])
        await writer.drain()
        if size:
            await asyncio.sleep(0)
    response = await read_response(reader)
    writer.close()
    return response


async def send_and_hang_up(request, when):
    """Sends a request, waits for `when`, and closes the connection without reading."""
    _, writer = await connect()
    writer.write(request)
    await writer.drain()
    await when()
    writer.transport.abort()


async def until(claims):
    while True:
        stats = json.loads((await send(message("GET", "/stats")))["body"])
        if stats["held"]["claims"] == claims:
            return
        await asyncio.sleep(0.02)


async def nothing():
    pass


async def post(offer):
    request = message("POST", path, offer.encode())
    if way == "normal":
        return [await send(request)]
    if way == "twenty-at-once":
        return await asyncio.gather(*(send(request) for _ in range(20)))
    if way == "again-when-answered":
        return [await send(request) for _ in range(3)]
    if way == "byte-by-byte":
        return [await send(request, 1)]
    if way == "cut-in-the-body":
        await send_and_hang_up(request[: -len(offer) // 2], nothing)
        return [await send(request)]
    if way == "cut-before-the-answer":
        await send_and_hang_up(request, lambda: until(claims=1))
        return [await send(request), await send(request)]
    if way == "cut-and-answered-to-nobody":
        await send_and_hang_up(request, lambda: until(claims=1))
        await until(claims=0)
        return [await send(request)]
    raise SystemExit(f"no such way: {way}")


async def main():
    pc = RTCPeerConnection()
    for track in (AudioStreamTrack(), VideoStreamTrack()):
        pc.addTransceiver(track, direction="sendonly")
    connected = asyncio.Event()

    @pc.on("connectionstatechange")
    def changed():
        if pc.connectionState == "connected":
            connected.set()

    await pc.setLocalDescription(await pc.createOffer())
    responses = await post(pc.localDescription.sdp)
    answer = responses[-1]
    await pc.setRemoteDescription(RTCSessionDescription(type="answer", sdp=answer["body"]))
    await connected.wait()
    print(json.dumps(responses), flush=True)

    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    deleted = await send(message("DELETE", answer["fields"]["location"]))
    await pc.close()
    print(deleted["status"], flush=True)


asyncio.run(main())
