"""A client of tlslite-ng that breaks the rules during and after the handshake: whatever is no request does not become one."""

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.errors import BaseTLSException, TLSLocalAlert, TLSRemoteAlert
from tlslite.messages import Message

from tls_house import PATIENCE, house

REQUEST = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
EVIL = b"GET /evil HTTP/1.1\r\nhost: localhost\r\n\r\n"
SERVED, REFUSED = ("served",), ("alert", "end")
EITHER = SERVED + REFUSED
DATA, SHAKE, ALERT, CHANGE, BEAT = 23, 22, 21, 20, 24
TLS12, TLS13 = (3, 3), (3, 4)


class Client(TLSConnection):
    """A connection; `hook` gets each message of the handshake and gives those that are sent in its place."""

    def __init__(self, sock, hook=None):
        super().__init__(sock)
        self.hook = hook or (lambda client, kind, data: [(kind, data)])
        self.state = {}

    def _sendMsgThroughSocket(self, msg):
        for kind, data in self.hook(self, msg.contentType, bytes(msg.write())):
            yield from super()._sendMsgThroughSocket(Message(kind, bytearray(data)))

    def shake(self, version, session=None, **settings):
        known = HandshakeSettings()
        known.minVersion = known.maxVersion = version
        known.maxVersion = version
        for key, value in settings.items():
            setattr(known, key, value)
        self.handshakeClientCert(serverName="localhost", settings=known, session=session)

    def answer(self):
        got = b""
        while not got.endswith(b"\r\n\r\nhello"):
            piece = self.read(max=16384)
            if not piece:
                return f"end after {len(got)} bytes"
            got += piece
        return "served" if got.startswith(b"HTTP/1.1 200 ") else got.decode()

    def raw(self, kind, data, padding=None):
        """A record as it is, encrypted."""
        self._recordLayer.padding_cb = (lambda *_: bytearray(padding)) if padding else None
        for _ in self._recordLayer.sendRecord(Message(kind, bytearray(data))):
            pass
        self._recordLayer.padding_cb = None

    def plain(self, kind, data):
        """A record that is not encrypted."""
        self.sock.sendall(bytes([kind, 3, 3]) + len(data).to_bytes(2, "big") + data)

    def damaged(self, kind, data, damage):
        """A record that is changed after it was encrypted."""
        sockets, send = self._recordLayer._recordSocket, self._recordLayer._recordSocket.send

        def broken(message, padding=0):
            return send(Message(message.contentType, bytearray(damage(bytes(message.write())))), padding)

        sockets.send = broken
        self.raw(kind, data)
        sockets.send = send


def outcome(house, version, does=None, hook=None, asks=True, **settings):
    """Shakes hands, does what is to be tried, and asks: `served`, an alert, or the end."""
    sock = house.connect()
    sock.settimeout(PATIENCE)
    client = Client(sock, hook)
    try:
        client.shake(version, **settings)
        client.hook = Client(sock).hook
        if does:
            does(client)
        if asks:
            client.raw(DATA, REQUEST)
        return client.answer()
    except TLSRemoteAlert as alert:
        return f"alert {alert.description}"
    except TLSLocalAlert as alert:
        return f"end: what came was no {alert}"
    except TimeoutError:
        return "silence"
    except (OSError, BaseTLSException, ValueError) as error:
        return f"end: {error!r}"
    finally:
        sock.close()


def message(kind, body):
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def records(house, version):
    def tries(name, does, *allowed, **more):
        house.expect(f"{version} {name}", outcome(house, version, does, **more), allowed)

    def times(count, kind, data):
        return lambda client: [client.raw(kind, data) for _ in range(count)]

    tries("nothing odd", None, *SERVED)
    tries("an empty record", times(1, DATA, b""), *SERVED)
    tries("10,000 empty records", times(10_000, DATA, b""), *EITHER)
    tries("a request byte by byte", lambda client: [client.raw(DATA, REQUEST[at : at + 1]) for at in range(len(REQUEST))], *SERVED, asks=False)
    tries("a record one byte too long", times(1, DATA, b"x" * 16385), *REFUSED)
    tries("a record much too long", times(1, DATA, b"x" * 20000), *REFUSED)
    for at in [0, 7, 8, 20, -17, -16, -1]:
        def flip(data, at=at):
            return data[: at % len(data)] + bytes([data[at] ^ 1]) + data[at % len(data) + 1 :]
        tries(f"byte {at} flipped", lambda client: client.damaged(DATA, EVIL, flip), "alert 20")
    for length in [0, 1, 8, 15, 16, 17, 23, 24]:
        tries(f"a record cut to {length}", lambda client: client.damaged(DATA, EVIL, lambda data: data[:length]), *REFUSED)
    tries("a record with more behind", lambda client: client.damaged(DATA, EVIL, lambda data: data + b"\0"), "alert 20")
    def twice(client):
        client.damaged(DATA, EVIL[:3], lambda data: client.state.setdefault("kept", data))
        client.plain(DATA, client.state["kept"])
    tries("a record twice", twice, "alert 20")
    for kind in [DATA, SHAKE, ALERT, BEAT]:
        tries(f"plain text of type {kind}", lambda client: client.plain(kind, EVIL), *REFUSED)
    for kind in [0, 19, BEAT, 25, 26, 99, 255]:
        tries(f"a record of type {kind}", times(1, kind, b"\1\0\3abc" + b"p" * 16), *REFUSED)
    tries("a heartbeat that asks for 16 KiB", times(1, BEAT, b"\1\x40\0a"), *REFUSED)


def alerts(house, version):
    def tries(name, does, *allowed):
        house.expect(f"{version} {name}", outcome(house, version, does), allowed)

    for level, what in [(1, 90), (1, 100), (1, 41), (1, 255)]:
        tries(f"alert {level} {what}", lambda client: client.raw(ALERT, bytes([level, what])), *EITHER)
    for level, what in [(2, 40), (2, 80), (2, 0), (1, 0)]:
        tries(f"alert {level} {what}", lambda client: client.raw(ALERT, bytes([level, what])), "end", "alert 0")
    for data in [b"", b"\1", b"\1\0\0", b"\0\0", b"\7\x5a", b"\1\x5a\1\x5a"]:
        tries(f"alert {data!r}", lambda client: client.raw(ALERT, data), *EITHER)
    tries("an alert in pieces", lambda client: [client.raw(ALERT, b"\2"), client.raw(ALERT, b"\x28")], *REFUSED)
    tries("5,000 warnings", lambda client: [client.raw(ALERT, b"\1\x5a") for _ in range(5000)], *EITHER)


def messages(house, version):
    def tries(name, does, *allowed):
        house.expect(f"{version} {name}", outcome(house, version, does), allowed)

    for kind in [0, 1, 2, 4, 5, 8, 11, 12, 13, 14, 15, 16, 20, 25, 254, 255]:
        for body in [b"", b"\0" * 32]:
            tries(f"message {kind} of {len(body)} bytes", lambda client: client.raw(SHAKE, message(kind, body)), *REFUSED)
    hello = b"\3\3" + b"r" * 32 + b"\0" + b"\0\2\xc0\x2b" + b"\1\0" + b"\0\x05\xff\x01\0\1\0"
    for count in [1, 100]:
        tries(f"{count} new handshakes", lambda client: [client.raw(SHAKE, message(1, hello)) for _ in range(count)], *REFUSED)
    # nobody may send it (RFC 8446 §5.1), and the library lets it pass
    tries("an empty message", lambda client: client.raw(SHAKE, b""), *EITHER)
    tries("a message of 16 MiB", lambda client: [client.raw(SHAKE, b"\x0b\xff\xff\xff"), *(client.raw(SHAKE, b"\0" * 16000) for _ in range(50))], *REFUSED)
    tries("a message with data between", lambda client: [client.raw(SHAKE, b"\x18\0\0"), client.raw(DATA, EVIL)], *REFUSED)
    tries("a change of ciphers", lambda client: client.raw(CHANGE, b"\1"), *EITHER)
    tries("10,000 changes of ciphers", lambda client: [client.raw(CHANGE, b"\1") for _ in range(10_000)], *REFUSED)


def updates(house):
    def tries(name, does, *allowed):
        house.expect(name, outcome(house, TLS13, does), allowed)

    def update(asked, count=1):
        def does(client):
            for _ in range(count):
                for _ in client.send_keyupdate_request(asked):
                    pass
        return does

    tries("new keys", update(0), *SERVED)
    tries("new keys on both sides", update(1), *SERVED)
    tries("new keys 2,000 times", update(0, 2000), *EITHER)
    tries("new keys on both sides 2,000 times", update(1, 2000), *EITHER)
    for body in [b"\2", b"\xff", b"", b"\0\0"]:
        tries(f"new keys {body!r}", lambda client: client.raw(SHAKE, message(24, body)), *REFUSED)
    tries("new keys and more", lambda client: client.raw(SHAKE, message(24, b"\0") * 2), *REFUSED)
    for count in [1, 100, 16000]:
        tries(f"{count} bytes of padding", lambda client: client.raw(DATA, b"", bytes(count)), *SERVED)
    tries("nothing but padding", lambda client: [client.raw(0, b"", bytes(100))], *REFUSED)
    tries("padding beyond the limit", lambda client: client.raw(DATA, b"", bytes(16400)), *REFUSED)


def handshakes(house, version):
    def tries(name, hook, *allowed, **settings):
        house.expect(f"{version} {name}", outcome(house, version, hook=hook, **settings), allowed)

    def at(wanted, does):
        def hook(client, kind, data):
            return does(client, data) if kind == SHAKE and data[0] == wanted else [(kind, data)]
        return hook

    def flipped(data, at=-1):
        return data[: at % len(data)] + bytes([data[at] ^ 1]) + data[at % len(data) + 1 :]

    finished = 20
    for position in [4, 10, -1]:
        tries(f"a wrong end at {position}", at(finished, lambda _, data: [(SHAKE, flipped(data, position))]), "alert 51")
    # in TLS 1.2 both wait for the other, the proxy until the handshake has taken too long
    tries("no end", at(finished, lambda *_: []), *REFUSED, *(["silence"] if version == TLS12 else []))
    tries("data in place of the end", at(finished, lambda *_: [(DATA, EVIL)]), *REFUSED)
    tries("data before the end", at(finished, lambda _, data: [(DATA, EVIL), (SHAKE, data)]), *REFUSED)
    tries("the end twice", at(finished, lambda _, data: [(SHAKE, data), (SHAKE, data)]), *REFUSED)
    tries("an end that is longer", at(finished, lambda _, data: [(SHAKE, message(20, data[4:] + b"\0"))]), *REFUSED)
    tries("an end that is empty", at(finished, lambda *_: [(SHAKE, message(20, b""))]), *REFUSED)
    tries("the end in pieces", at(finished, lambda _, data: [(SHAKE, data[n : n + 1]) for n in range(len(data))]), *SERVED)
    tries("a certificate nobody asked for", at(finished, lambda _, data: [(SHAKE, message(11, bytes(4))), (SHAKE, data)]), *REFUSED)
    tries("a proof nobody asked for", at(finished, lambda _, data: [(SHAKE, message(15, b"\4\3\0\0")), (SHAKE, data)]), *REFUSED)
    tries("a heartbeat before the end", at(finished, lambda _, data: [(BEAT, b"\1\x40\0a"), (SHAKE, data)]), *REFUSED)
    for count in [1, 2, 100, 5000]:
        tries(f"{count} changes of ciphers before the end", at(finished, lambda _, data: [(CHANGE, b"\1")] * count + [(SHAKE, data)]), *EITHER)
    tries("a change of ciphers of 2", at(finished, lambda _, data: [(CHANGE, b"\2"), (SHAKE, data)]), *REFUSED)
    if version == TLS12:
        for body in [b"", b"\0", b"\x20" + bytes(32), b"\x1f" + b"k" * 31, b"\x21" + b"k" * 33, b"\x20" + b"k" * 31, b"\x41\4" + b"\1" * 64]:
            tries(f"a key of {body[:2]!r}, {len(body)}", at(16, lambda *_: [(SHAKE, message(16, body))]), *REFUSED)


def resumed(house):
    """A session, by a connection that is closed as it should be."""
    client = Client(house.connect())
    client.shake(TLS13)
    client.raw(DATA, REQUEST)
    assert client.answer() == "served"
    client.close()
    return client.session


def tickets(house):
    session = resumed(house)
    assert session.tickets, "the proxy gives tickets"
    house.expect("a ticket", outcome(house, TLS13, session=session), SERVED)
    for position in [-1, -16, -32]:
        def hook(client, kind, data, position=position):
            if kind == SHAKE and data[0] == 1:
                data = data[: position % len(data)] + bytes([data[position] ^ 1]) + data[position % len(data) + 1 :]
            return [(kind, data)]
        house.expect(f"a binder with {position} flipped", outcome(house, TLS13, hook=hook, session=resumed(house)), ["alert"])

    house.expect("another group", outcome(house, TLS13, keyShares=["secp521r1"]), SERVED)
    house.expect("no group yet", outcome(house, TLS13, keyShares=[]), SERVED)

    def stubborn(client, kind, data):
        if kind == SHAKE and data[0] == 1:
            data = client.state.setdefault("hello", data)
        return [(kind, data)]
    house.expect("the same hello again", outcome(house, TLS13, hook=stubborn, keyShares=[]), ["alert"])


with house() as house:
    for version in [TLS12, TLS13]:
        for part in [records, alerts, messages, handshakes]:
            part(house, version)
    updates(house)
    tickets(house)
    assert b"evil" not in house.service.got
    assert house.service.got.count(b"GET / HTTP/1.1\r\n") == house.service.got.count(b"\r\n\r\n")
    house.finish("ways to break the rules")
