#!/usr/bin/env python3
"""Records what requests run through, for the compiler: makes benches/profile/ringway.profdata anew.

usage: record.py [--ringway PROGRAM] [--seconds 2]
       record.py --check        ends with 1 when the profile is of other dependencies or another compiler

Builds the program so that it counts (unless one is given that was built so), has it serve every kind of traffic, and joins
what it counted. Needs Linux, `rustup component add llvm-tools`, and haproxy, wrk, h2load and openssl (Debian: apt-get
install haproxy wrk nghttp2-client openssl). Nothing is measured, so that the machine need not be quiet.
"""
import argparse, contextlib, hashlib, os, pathlib, signal, subprocess, sys, tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "peers"))
from compare import BROWSER, ORIGIN_BEGIN, SPLIT, WORKLOADS, answers, free_ports, need, start, writer  # noqa: E402

ORIGIN = ORIGIN_BEGIN + """
frontend origin
  bind 127.0.0.1:{stable}
  bind 127.0.0.1:{canary}
  bind 127.0.0.1:{h2c} proto h2
  bind 127.0.0.1:{secure} ssl crt {both} alpn h2,http/1.1
  http-request return status 404 content-type text/plain string "not here" if {{ path_beg /missing }}
  http-request return status 200 content-type application/json file {json} hdr x-request-id %[rand] hdr etag "abc" hdr vary accept-encoding if {{ path_beg /api }}
  http-request return status 200 content-type text/plain file {big} if {{ path /1m }}
  http-request return status 200 content-type text/plain file {small}
"""
RINGWAY = """
listeners:
  - {{ address: "127.0.0.1:{plain}" }}
  - {{ address: "127.0.0.1:{tls}", tls: {{ certificates: [{{ certFile: "{cert}", keyFile: "{key}" }}] }} }}
telemetry: {{ address: "127.0.0.1:{telemetry}" }}
admin: {{ address: "127.0.0.1:{admin}" }}
services:
  shop:""" + SPLIT + """
  rings:""" + SPLIT + """
    cohorts:
      - name: staff
        when: {{ header: {{ name: x-employee, exact: "1" }} }}
        weights: {{ canary: 100 }}
      - name: phones
        when: {{ header: {{ name: user-agent, regex: "Android|iPhone" }} }}
      - name: beta
        when: {{ cookie: {{ name: beta, exact: "1" }} }}
        weights: {{ canary: 50 }}
  copied:""" + SPLIT.replace("weight: 90", "weight: 100").replace("weight: 10,", "weight: 0,") + """
    mirror: {{ to: canary, methods: [GET, HEAD, POST], maxBody: 128KiB }}
  framed:
    variants:
      stable: {{ endpoints: ["127.0.0.1:{h2c}"], protocol: h2c }}
  secure:
    variants:
      stable:
        endpoints: ["127.0.0.1:{secure}"]
        protocol: http2
        tls: {{ caFile: "{cert}", serverName: localhost }}
routes:
  - {{ name: copied, matches: [{{ path: {{ prefix: /copied }} }}], service: copied }}
  - {{ name: framed, matches: [{{ path: {{ prefix: /framed }} }}], service: framed }}
  - {{ name: secure, matches: [{{ path: {{ prefix: /secure }} }}], service: secure }}
  - name: api
    matches: [{{ path: {{ prefix: /api }} }}]
    service: rings
    timeouts: {{ request: 5s }}
    retry: {{ attempts: 1, on: [connect, reset, 503] }}
    rateLimit: {{ requests: 1000000, per: 1s, burst: 1000000 }}
    requestHeaders: {{ set: {{ x-group: "${{cohort}}" }}, remove: [x-debug] }}
    responseHeaders: {{ set: {{ strict-transport-security: max-age=31536000 }}, remove: [server] }}
  - {{ name: shop, service: shop }}
"""
NAMES = {"version": "compiler", "dependencies": "Cargo.lock"}
STAFF = ["x-employee: 1", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]


def arguments():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--ringway", help="a program that records already")
    options.add_argument("--check", action="store_true", help="only look whether the profile fits")
    options.add_argument("--seconds", type=int, default=2, help="of each kind of traffic")
    return options.parse_args()


def compiler():
    return tell("rustc", "--version")


def dependencies():
    """What the names of functions depend on beside the compiler: all packages and their versions, ours too."""
    return hashlib.sha256((ROOT / "Cargo.lock").read_bytes()).hexdigest() + "\n"


def check():
    fits = {"version": compiler(), "dependencies": dependencies()}
    stale = [name for name, now in fits.items() if (HERE / name).read_text() != now]
    if stale:
        sys.exit(f"✘ the recorded profile is not for this {' and '.join(NAMES[name] for name in stale)}, "
                 "and most of it would not be found: record it again by benches/profile/record.py")
    print("✔ the recorded profile fits the compiler and Cargo.lock")


def tell(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def profdata():
    """The compiler's own tool that joins what was recorded."""
    host = next(line.split()[1] for line in tell("rustc", "-vV").splitlines() if line.startswith("host:"))
    tool = pathlib.Path(tell("rustc", "--print", "sysroot").strip()) / "lib/rustlib" / host / "bin/llvm-profdata"
    if not tool.exists():
        sys.exit("llvm-profdata is not there: rustup component add llvm-tools")
    return tool


def build(raw):
    target = ROOT / "target" / "record"
    environment = {**os.environ, "RINGWAY_PROFILE": str(raw), "CARGO_TARGET_DIR": str(target)}
    subprocess.run(["cargo", "build", "--release", "--locked"], cwd=ROOT, env=environment, check=True)
    return str(target / "release" / "ringway")


def load(write, ports, seconds):
    """Every kind of traffic, those in front of which the program will mostly stand for longer."""
    plain, tls = f"http://127.0.0.1:{ports['plain']}", f"https://localhost:{ports['tls']}"
    post = write("post.lua", WORKLOADS["post64k"][3])
    body = write("body", "x" * 4096)

    def wrk(url, *more, headers=(), connections=64):
        of_headers = [part for header in headers for part in ("-H", header)]
        return ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *of_headers, *more, url]

    def h2load(url, *more, headers=(), requests=10_000):
        of_headers = [f"-H{header}" for header in headers]
        return ["h2load", "-t1", "-c8", "-m32", f"-n{requests * seconds}", *of_headers, *more, url]

    for base in (plain, tls):
        yield wrk(f"{base}/")
        yield wrk(f"{base}/api/v1/items?page=2", headers=BROWSER)
        yield wrk(f"{base}/api/v1/items", headers=STAFF, connections=8)
        yield wrk(f"{base}/missing")
        yield wrk(f"{base}/", headers=["Connection: close"])
        yield wrk(f"{base}/upload", "-s", post)
        yield wrk(f"{base}/1m", connections=16)
        yield wrk(f"{base}/framed/a")
        yield wrk(f"{base}/secure/a")
        yield wrk(f"{base}/copied/a")
        yield h2load(f"{base}/")
        yield h2load(f"{base}/api/v1/items?page=2", headers=BROWSER)
        yield h2load(f"{base}/api/v1/items", headers=STAFF)
        yield h2load(f"{base}/upload", "-d", body)
        yield h2load(f"{base}/1m", requests=200)
        yield h2load(f"{base}/framed/a")
        yield h2load(f"{base}/secure/a")
        yield h2load(f"{base}/copied/a")


def serve(program, directory, seconds):
    names = ["stable", "canary", "h2c", "secure", "plain", "tls", "telemetry", "admin"]
    ports = dict(zip(names, free_ports(len(names))))
    write = writer(directory)
    cert, key = (os.path.join(directory, name) for name in ("cert.pem", "key.pem"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=CA:FALSE",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    files = {**answers(write),
             "json": write("json", '{"items": [' + ", ".join(f'{{"id": {i}}}' for i in range(200)) + "]}"),
             "both": write("both.pem", "".join(open(path).read() for path in (cert, key)))}
    with contextlib.ExitStack() as ends:
        origin = start(0, ["haproxy", "-db", "-f", write("origin.cfg", ORIGIN.format(**ports, **files))], ports["stable"])
        ends.callback(origin.terminate)
        config = write("ringway.yaml", RINGWAY.format(**ports, cert=cert, key=key))
        proxy = start(1, [program, "run", "-c", config], ports["plain"])
        # it writes what it recorded when it ends
        ends.callback(proxy.wait, 60)
        ends.callback(proxy.send_signal, signal.SIGTERM)
        for command in load(write, ports, seconds):
            send(command)


def send(command):
    done = subprocess.run(command, capture_output=True, text=True)
    told = [line for line in done.stdout.splitlines() if "requests in" in line or line.startswith(("status codes", "Requests/sec"))]
    print(command[-1], *told, flush=True)
    if done.returncode != 0 or not told or "Non-2xx" in done.stdout and "missing" not in command[-1]:
        sys.exit(f"this did not go well: {' '.join(command)}\n{done.stdout}{done.stderr}")


def main():
    given = arguments()
    if given.check:
        return check()
    # before the build, which takes long
    need(haproxy="haproxy", wrk="wrk", h2load="nghttp2-client", openssl="openssl")
    joins = profdata()
    with tempfile.TemporaryDirectory() as directory:
        raw = pathlib.Path(directory) / "raw"
        program = given.ringway or build(raw)
        # the folder is compiled in; this says it at run time
        os.environ["LLVM_PROFILE_FILE"] = str(raw / "%m_%p.profraw")
        serve(program, directory, given.seconds)
        if not raw.exists():
            sys.exit(f"{program} has recorded nothing: it must be built with RINGWAY_PROFILE=/a/folder")
        # sparse: what was never run is unknown, not cold
        subprocess.run([joins, "merge", "-sparse", "-o", HERE / "ringway.profdata", raw], check=True)
        (HERE / "version").write_text(compiler())
        (HERE / "dependencies").write_text(dependencies())


if __name__ == "__main__":
    main()
