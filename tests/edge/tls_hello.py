"""Hellos that are odd, broken, cut off or in pieces: each is answered or refused at once, and no byte of any reaches the
service. The expectations are those of RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2) and RFC 7301 (ALPN), but for two alerts: what
should be missing_extension (109) or illegal_parameter (47) is handshake_failure (40) or decode_error (50) to the library."""

import os
import socket
import struct

from tls_house import PATIENCE, house

SERVED, REFUSED = ("hello", "retry"), ("alert", "end")
EITHER = SERVED + REFUSED
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
GREASE = 0x4A4A
X25519, P256 = 0x001D, 0x0017
SUITES = [0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xCCA9]
VERSIONS, KEY_SHARE, GROUPS, SIGNATURES, NAME, ALPN, MODES, PSK, EARLY, COOKIE = 43, 51, 10, 13, 0, 16, 45, 41, 42, 44


def vector(body, size=2):
    return len(body).to_bytes(size, "big") + body


def numbers(*values):
    return b"".join(struct.pack(">H", value) for value in values)


def share(group=X25519, key=None):
    return numbers(group) + vector(os.urandom(32) if key is None else key)


def extensions(*, without=(), **changed):
    """Those of an ordinary client, in an order that ends with the padding."""
    all_of_them = {
        NAME: vector(b"\0" + vector(b"localhost")),
        GROUPS: vector(numbers(X25519, P256)),
        SIGNATURES: vector(numbers(0x0403, 0x0804, 0x0401, 0x0503)),
        ALPN: vector(vector(b"http/1.1", 1)),
        23: b"",
        VERSIONS: vector(numbers(0x0304, 0x0303), 1),
        MODES: vector(b"\1", 1),
        KEY_SHARE: vector(share()),
    }
    all_of_them.update({int(name[1:]): body for name, body in changed.items()})
    return [(kind, body) for kind, body in all_of_them.items() if kind not in without]


OLD = {"without": (VERSIONS, KEY_SHARE, MODES)}


def hello(exts=None, version=0x0303, suites=SUITES, compression=b"\0", session=None, raw=None, suites_raw=None):
    """A ClientHello, with the head of a handshake message."""
    exts = extensions() if exts is None else exts
    block = b"".join(numbers(kind) + vector(body) for kind, body in exts) if raw is None else None
    body = numbers(version) + os.urandom(32) + vector(os.urandom(32) if session is None else session, 1)
    body += vector(numbers(*suites) if suites_raw is None else suites_raw) + vector(compression, 1)
    body += vector(block) if raw is None else raw
    return b"\1" + vector(body, 3)


def record(payload, kind=22, version=0x0301):
    return bytes([kind]) + numbers(version) + vector(payload)


def records(message, size):
    return b"".join(record(message[at : at + size]) for at in range(0, len(message), size))


def outcome(house, data, ends=False):
    """What comes back first: a ServerHello, a HelloRetryRequest, an alert or the end. Silence is waited out, and told."""
    with house.connect() as client:
        client.settimeout(PATIENCE)
        try:
            client.sendall(data)
            if ends:
                client.shutdown(socket.SHUT_WR)
            head = exactly(client, 5)
            body = exactly(client, int.from_bytes(head[3:5], "big"))
        except TimeoutError:
            return "silence"
        except (OSError, EOFError):
            return "end"
    if head[0] == 21:
        return f"alert {body[1]}"
    if head[0] == 22 and body[0] == 2:
        return "retry" if body[6:38] == RETRY else f"hello {body[4:6].hex()}"
    return f"record of type {head[0]}"


def exactly(client, count):
    data = b""
    while len(data) < count:
        piece = client.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def versions(house):
    def offers(*offered):
        return hello(extensions(_43=vector(numbers(*offered), 1)))

    for offered in [(0x0304,), (GREASE, 0x0304), (0x7F1C, 0x0304, 0x0303), (0x0303, 0x0304), (0x0305, 0xFFFF, 0x0304)]:
        house.expect(f"versions {offered}", outcome(house, record(offers(*offered))), ["hello"])
    house.expect("TLS 1.2 among versions", outcome(house, record(offers(GREASE, 0x0303, 0x0302))), ["hello"])
    for offered in [(0x0302,), (0x0301, 0x0300), (GREASE,), (0x0305,), (0x7F1C,)]:
        house.expect(f"versions {offered}", outcome(house, record(offers(*offered))), ["alert 70"])
    for name, body in {"none": b"\0", "odd": b"\3\3\4\3", "too long": b"\6\3\4", "empty": b"", "behind": b"\2\3\4\0"}.items():
        house.expect(f"versions {name}", outcome(house, record(hello(extensions(_43=body)))), ["alert"])
    # what is said at the old place does not matter to TLS 1.3, and the future is no reason to refuse TLS 1.2
    for version in [0x0300, 0x0301, 0x0302, 0x0303]:
        house.expect(f"legacy version {version:x}", outcome(house, record(hello(version=version))), EITHER)
    for version in [0x0303, 0x0304, 0x0305, 0x03FF, 0x0403, 0xFFFF]:
        answer = outcome(house, record(hello(extensions(**OLD), version=version)))
        house.expect(f"old hello of {version:x}", answer, ["hello 0303"])
    for version in [0x0302, 0x0301, 0x0300, 0x0200, 0x0002, 0x0000]:
        answer = outcome(house, record(hello(extensions(**OLD), version=version)))
        house.expect(f"old hello of {version:x}", answer, ["alert 70"])
    for version in [0x0301, 0x0302, 0x0303, 0x0304, 0x0300]:
        house.expect(f"record of {version:x}", outcome(house, record(hello(), version=version)), ["hello"])
    for version in [0x0000, 0x0200, 0x0400, 0xFFFF, 0x4745]:
        house.expect(f"record of {version:x}", outcome(house, record(hello(), version=version), True), EITHER)


def lists(house):
    def tries(name, message, *allowed):
        house.expect(name, outcome(house, record(message)), allowed)

    tries("no suite", hello(suites=[]), *REFUSED)
    tries("suites of odd length", hello(suites_raw=b"\x13\x01\x13"), "alert")
    tries("unknown suites", hello(suites=[GREASE, 0x1305, 0xC0FF]), "alert 40")
    tries("a known suite among 1,000", hello(suites=[*range(0x5A00, 0x5A00 + 1000), 0x1301]), "hello")
    tries("a known suite among 20,000", hello(suites=[*range(0x2000, 0x2000 + 6000), 0x1301]), *EITHER)
    tries("suites of TLS 1.2 for TLS 1.3", hello(extensions(_43=vector(numbers(0x0304), 1)), suites=[0xC02B]), "alert 40")
    for suite in [0x000A, 0x002F, 0x0035, 0x009C, 0xC013, 0xC027, 0x0005, 0x0000, 0x0016]:
        tries(f"weak suite {suite:x}", hello(extensions(**OLD), suites=[suite]), "alert 40")
    tries("no compression named", hello(compression=b""), *REFUSED)
    tries("compression alone", hello(extensions(**OLD), compression=b"\1"), "alert")
    tries("compression for TLS 1.3", hello(compression=b"\1\0"), "alert", "hello")
    tries("compression and none for TLS 1.2", hello(extensions(**OLD), compression=b"\1\0"), "hello")
    tries("session id of 33 bytes", hello(session=b"s" * 33), *REFUSED)
    tries("no session id", hello(session=b""), "hello")
    tries("no extension at all", hello(raw=b""), *REFUSED)
    tries("extensions longer than said", hello(raw=b"\0\1\0\0\0\0"), *REFUSED)
    tries("extensions shorter than said", hello(raw=b"\0\xff\0\0\0\0"), *REFUSED)
    tries("half an extension", hello(raw=b"\0\3\0\0\0"), *REFUSED)
    tries("bytes behind", hello()[:-1] + b"\0\0", *REFUSED)
    tries("unknown extensions", hello(extensions() + [(GREASE, b""), (0xFA57, b"x" * 500), (0xFFFF, b"\0")]), "hello")
    tries("200 unknown extensions", hello(extensions() + [(0x6000 + n, b"x") for n in range(200)]), "hello")
    for kind, body in extensions():
        tries(f"extension {kind} twice", hello(extensions() + [(kind, body)]), *REFUSED)
    tries("an unknown one twice", hello(extensions() + [(GREASE, b""), (GREASE, b"")]), *EITHER)
    for kind in [*range(64), 0x3374, 0x4469, 0x754F, 0xFE0D, 0xFF01]:
        for body in [b"", b"\0", b"\xff", b"\0\0", b"\xff\xff", b"\0\1\0", b"x" * 70]:
            tries(f"extension {kind} of {body[:4]!r}", hello(extensions(**{f"_{kind}": body})), *EITHER)


def shares(house):
    def tries(name, exts, *allowed):
        house.expect(name, outcome(house, record(hello(exts))), allowed)

    new = {"_43": vector(numbers(0x0304), 1)}
    tries("no share yet", extensions(**new, _51=vector(b"")), "retry")
    tries("a share of an unknown group", extensions(**new, _51=vector(share(GREASE, b"\0")), _10=vector(numbers(GREASE, X25519))), "retry")
    tries("a share of a group of later", extensions(**new, _51=vector(share(0x001E, b"\0" * 56)), _10=vector(numbers(0x001E, P256))), "retry")
    tries("groups that are unknown", extensions(**new, _51=vector(share(GREASE, b"\0")), _10=vector(numbers(GREASE))), "alert")
    tries("groups without shares", extensions(**new, without=(KEY_SHARE,)), "alert 109", "alert 40")
    tries("shares without groups", extensions(**new, without=(GROUPS,)), "alert")
    tries("no signatures", extensions(**new, without=(SIGNATURES,)), "alert 109", "alert 40")
    tries("unknown signatures", extensions(**new, _13=vector(numbers(GREASE))), *EITHER)
    for length in [0, 1, 31, 33, 64, 1000]:
        tries(f"X25519 of {length} bytes", extensions(**new, _51=vector(share(X25519, b"k" * length))), *REFUSED)
    tries("X25519 of nothing but zeros", extensions(**new, _51=vector(share(X25519, bytes(32)))), *REFUSED)
    for name, key in {"off the curve": b"\4" + b"\1" * 64, "at infinity": b"\0", "short": b"\4" + b"\1" * 63, "pressed": b"\2" + b"\1" * 32}.items():
        tries(f"P-256 {name}", extensions(**new, _51=vector(share(P256, key)), _10=vector(numbers(P256))), *REFUSED)
    tries("two shares of a group", extensions(**new, _51=vector(share() + share())), *EITHER)
    tries("a share cut off", extensions(**new, _51=vector(share()[:-1])), *REFUSED)
    tries("an empty name of a protocol", extensions(_16=vector(b"\0")), *REFUSED)
    tries("no name of a protocol", extensions(_16=vector(b"")), *REFUSED)
    tries("unknown protocols", extensions(_16=vector(b"".join(vector(b"%d" % n * 80, 1) for n in range(10, 99)))), *EITHER)
    for name in [b"", b"a\0b", b"x" * 300, b"127.0.0.1", b"\xff\xfe", b"a..b", b"."]:
        tries(f"the name {name[:8]!r}", extensions(_0=vector(b"\0" + vector(name))), *EITHER)
    tries("two names", extensions(_0=vector((b"\0" + vector(b"localhost")) * 2)), *EITHER)


def psk(binders=None, identities=None, modes=True, last=True, early=False):
    identity = vector(b"ticket" * 20) + bytes(4)
    body = vector(identity if identities is None else identities) + vector(vector(b"b" * 32, 1) if binders is None else binders)
    exts = extensions(**{"_43": vector(numbers(0x0304), 1)}, without=() if modes else (MODES,))
    exts += [(EARLY, b"")] if early else []
    return exts + [(PSK, body)] if last else [(PSK, body), *exts]


def tickets(house):
    def tries(name, exts, *allowed, after=b""):
        house.expect(name, outcome(house, record(hello(exts)) + after), allowed)

    tries("an unknown ticket", psk(), "hello")
    tries("an unknown ticket and early data", psk(early=True), "hello", after=record(b"GET / HTTP/1.1\r\n\r\n" * 9, 23, 0x0303))
    tries("tickets before the rest", psk(last=False), "alert 47", "alert 50")
    tries("tickets without modes", psk(modes=False), "alert")
    tries("no binder", psk(binders=b""), *REFUSED)
    tries("no ticket", psk(identities=b""), *REFUSED)
    tries("fewer binders than tickets", psk(identities=(vector(b"t" * 99) + bytes(4)) * 2), *REFUSED)
    tries("a binder of 31 bytes", psk(binders=vector(b"b" * 31, 1)), *EITHER)
    tries("early data without a ticket", [*extensions(), (EARLY, b"")], *EITHER, after=record(b"GET / " * 99, 23, 0x0303))
    tries("a cookie that nobody gave", extensions(_44=vector(b"c" * 99)), *EITHER)


def pieces(house):
    message = hello()
    for size in [1, 2, 3, 4, 5, 7, 16, 64, 100, len(message) - 1]:
        house.expect(f"records of {size} bytes", outcome(house, records(message, size)), ["hello"])
    for name, data in {
        "an empty record first": record(b"") + record(message),
        "an empty record between": record(message[:50]) + record(b"") + record(message[50:]),
        "1,000 empty records": record(b"") * 1000,
        "an alert between": record(message[:50]) + record(b"\1\0", 21) + record(message[50:]),
        "data between": record(message[:50]) + record(b"GET / HTTP/1.1\r\n\r\n", 23) + record(message[50:]),
        "a change of ciphers between": record(message[:50]) + record(b"\1", 20) + record(message[50:]),
        "a change of ciphers first": record(b"\1", 20) + record(message),
        "1,000 changes of ciphers": record(b"\1", 20) * 1000 + record(message),
        "1,000 warnings": record(b"\1\x5a", 21) * 1000 + record(message),
        "two hellos in a record": record(message + message),
        "more than is said": record(message[:3] + bytes([message[3] - 1]) + message[4:]),
        "a record longer than allowed": record(b"x" * 16641),
        "a record of 65,535 bytes": record(b"\1" + b"\0" * 65534),
        "a message of 16 MiB": record(b"\1\xff\xff\xff" + b"\0" * 16000) * 20,
        "a message of 1 MiB": record(b"\1\x10\x00\x00" + b"\0" * 16000) * 70,
    }.items():
        house.expect(name, outcome(house, data, ends=True), EITHER if "between" in name or "first" in name or "hellos" in name or "1,000" in name else REFUSED)
    for kind in range(256):
        if kind != 22:
            house.expect(f"a record of type {kind}", outcome(house, record(message, kind), ends=True), (*REFUSED, "record of type 72"))
        if kind != 1:
            house.expect(f"a message of type {kind}", outcome(house, record(bytes([kind]) + message[1:]), ends=True), REFUSED)
    whole = record(message)
    for length in range(1, len(whole)):
        house.expect(f"the first {length} bytes", outcome(house, whole[:length], ends=True), REFUSED)
    for at in range(len(whole)):
        for flip in [0x01, 0x80, 0xFF]:
            data = whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :]
            house.expect(f"byte {at} xor {flip}", outcome(house, data, ends=True), (*EITHER, "record of type 72"))


with house() as house:
    for part in [versions, lists, shares, tickets, pieces]:
        part(house)
    assert house.service.got == b"", house.service.got[:200]
    house.finish("hellos")
