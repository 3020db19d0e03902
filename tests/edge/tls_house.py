"""A TLS listener before a service that notes every byte, and what came of a try."""

import contextlib
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from proxied import Proxy

# seconds in which the proxy has to make up its mind, where it has all that it can wait for
PATIENCE = 5
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


class Service:
    """Answers each request; `got` is all that it was sent."""

    def __init__(self):
        self.got = b""
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(ConnectionError):
            while data := client.recv(65536):
                self.got += data
                if data.endswith(b"\r\n\r\n"):
                    client.sendall(ANSWER)


class House:
    """The proxy, its service, and a count of tries."""

    def __init__(self, proxy, service):
        self.proxy, self.service, self.tries, self.wrong = proxy, service, 0, []

    def connect(self):
        client = socket.create_connection(("127.0.0.1", self.proxy.port), PATIENCE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def expect(self, name, outcome, allowed):
        """Notes a try; `allowed` are the words that its outcome may begin with."""
        self.tries += 1
        if not outcome.startswith(tuple(allowed)):
            self.wrong.append(f"{name}: {outcome}, not {' or '.join(allowed)}")

    def metric(self, name):
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.proxy.telemetry}/metrics").read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.M))

    def finish(self, what):
        """Nothing was wrong, nothing is left open, nothing has panicked, and the proxy serves."""
        assert not self.wrong, "\n".join(self.wrong)
        deadline = time.monotonic() + 30
        while self.metric("ringway_downstream_connections") > 0:
            assert time.monotonic() < deadline, "connections stay open"
            time.sleep(0.05)
        assert self.metric("ringway_panics_total") == 0
        assert self.proxy.process.poll() is None
        print(f"{self.tries} {what}")


def certificate(folder):
    """Of a key of P-256, for localhost."""
    names = {"certFile": "house.crt", "keyFile": "house.key"}
    paths = {key: str(pathlib.Path(folder) / name) for key, name in names.items()}
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
    command = [*command.split(), "-addext", "subjectAltName=DNS:localhost"]
    command += ["-out", paths["certFile"], "-keyout", paths["keyFile"]]
    subprocess.run(command, check=True, capture_output=True)
    pathlib.Path(paths["keyFile"]).chmod(0o600)
    return paths


@contextlib.contextmanager
def house():
    service = Service()
    with tempfile.TemporaryDirectory() as folder:
        paths = certificate(folder)
        keys = f', tls: {{ certificates: [{{ certFile: "{paths["certFile"]}", keyFile: "{paths["keyFile"]}" }}] }}'
        with Proxy(sys.argv[1], service.port, listener=keys) as proxy:
            yield House(proxy, service)
