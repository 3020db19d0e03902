"""A client of `websockets` talks to a server of `websockets` through the proxy, and closes as the standard wants."""

import asyncio
import sys

import websockets

from proxied import Proxy


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    async with websockets.serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with Proxy(sys.argv[1], port, "http1") as proxy:
            async with websockets.connect(f"ws://127.0.0.1:{proxy.port}/chat") as socket:
                for number in range(100):
                    for message in [f"text {number}", bytes(number * 1000)]:
                        await socket.send(message)
                        assert await socket.recv() == message
                await (await socket.ping())
            assert socket.close_code == 1000, socket.close_code
    print("200 messages")


asyncio.run(asyncio.wait_for(main(), 60))
