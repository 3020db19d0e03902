"""Users for the quickstart: each keeps a cookie, some are staff, some are volunteers.

    TARGET=ringway:8080 RATE=100 USERS=400 python3 load.py
"""

import http.client
import os
import random
import threading
import time

TARGET = os.environ.get("TARGET", "127.0.0.1:8080")
RATE = float(os.environ.get("RATE", "100"))
USERS = int(os.environ.get("USERS", "400"))
CLIENTS = 8


def headers_of(user):
    headers = {"cookie": f"uid=u-{user}"}
    if user % 20 == 0:
        headers["x-employee"] = "1"
    if user % 10 == 1:
        headers["x-beta"] = "1"
    return headers


def client():
    connection = None
    while True:
        time.sleep(random.expovariate(RATE / CLIENTS))
        try:
            connection = connection or http.client.HTTPConnection(TARGET, timeout=10)
            connection.request("GET", "/", headers=headers_of(random.randrange(USERS)))
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            # the proxy is not there yet, or was replaced
            connection = None
            time.sleep(0.5)


if __name__ == "__main__":
    for _ in range(CLIENTS):
        threading.Thread(target=client, daemon=True).start()
    threading.Event().wait()
