"""A signaling server on aiortc: each POST of a JSON offer makes a peer connection. Prints its address."""

import asyncio

from aiohttp import web
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

connections = set()


async def offer(request):
    message = await request.json()
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connections.add(connection)
    await connection.setRemoteDescription(RTCSessionDescription(message["sdp"], message["type"]))
    await connection.setLocalDescription(await connection.createAnswer())
    answer = connection.localDescription
    return web.json_response({"sdp": answer.sdp, "type": answer.type})


async def main():
    app = web.Application()
    app.router.add_post("/offer", offer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    print(f"{host}:{port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
