"""A client of grpcio talks to a server of grpcio through the proxy: unary, streaming, errors, deadlines, cancellation."""

import sys
import threading
from concurrent import futures

import grpc

from proxied import Proxy

gone = threading.Event()


def unary(request, context):
    if request == b"refuse":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
    return request


def stream(requests, context):
    for request in requests:
        yield request


def hang(request, context):
    context.add_callback(gone.set)
    gone.wait(20)
    return b""


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return {
            "/t.T/Unary": grpc.unary_unary_rpc_method_handler(unary),
            "/t.T/Stream": grpc.stream_stream_rpc_method_handler(stream),
            "/t.T/Hang": grpc.unary_unary_rpc_method_handler(hang),
        }.get(details.method)


server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Handler()])
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with Proxy(sys.argv[1], port, "h2c") as proxy, grpc.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
    call = channel.unary_unary("/t.T/Unary")
    for size in [0, 10, 1_000_000]:
        assert call(b"x" * size, timeout=20) == b"x" * size
    messages = [b"message %d" % number for number in range(500)]
    assert list(channel.stream_stream("/t.T/Stream")(iter(messages), timeout=20)) == messages
    for ask, code in [
        (lambda: call(b"refuse", timeout=20), grpc.StatusCode.FAILED_PRECONDITION),
        (lambda: channel.unary_unary("/t.T/None")(b"", timeout=20), grpc.StatusCode.UNIMPLEMENTED),
        (lambda: channel.unary_unary("/t.T/Hang")(b"", timeout=0.3), grpc.StatusCode.DEADLINE_EXCEEDED),
    ]:
        try:
            ask()
            raise SystemExit(f"{code} did not come")
        except grpc.RpcError as error:
            assert error.code() == code, error
    assert gone.wait(10), "the server does not learn of the deadline"
    gone.clear()
    waiting = channel.unary_unary("/t.T/Hang").future(b"", timeout=20)
    threading.Timer(0.2, waiting.cancel).start()
    assert gone.wait(10), "the server does not learn of the cancellation"
server.stop(None)
print("5 ways of talking")
