"""A sample service for the quickstart, of the standard library alone.

    NAME=canary PORT=8080 python3 service.py

GET anything answers with its name. POST /behave?errors=0.3&delay=50 makes it fail that share of its answers and take that
many milliseconds, until it is told otherwise.
"""

import json
import os
import random
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME = os.environ.get("NAME", "stable")
BEHAVIOUR = {"errors": 0.0, "delay": float(os.environ.get("DELAY_MS", "5"))}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body are two writes; the second must not wait for the first to be acknowledged.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, {"service": NAME})
            return
        time.sleep(BEHAVIOUR["delay"] / 1000)
        is_ill = random.random() < BEHAVIOUR["errors"]
        self.answer(500 if is_ill else 200, {"service": NAME, "user": self.headers.get("cookie", "")})

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", "0")))
        wanted = urlsplit(self.path)
        if wanted.path == "/behave":
            for name, value in parse_qs(wanted.query).items():
                if name in BEHAVIOUR:
                    BEHAVIOUR[name] = max(0.0, float(value[0]))
        self.answer(200, BEHAVIOUR)

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Ringway's access log tells more."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Whoever looks whether the service is well closes the connection without a word."""


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    Server((os.environ.get("ADDRESS", "0.0.0.0"), port), Service).serve_forever()
