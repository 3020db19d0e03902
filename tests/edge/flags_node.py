"""OpenFeature's SDK for Node.js asks Ringway by the OFREP provider from npm, and gets what `explain` says."""

import json
import pathlib
import subprocess
import sys

from flags_file import FILE
from proxied import Proxy

program, packages = sys.argv[1:]
USERS = [f"u-{user}" for user in range(30)]
OTHERS = [
    {"flag": "cart", "context": {"targetingKey": "u-1", "x-employee": "1"}},
    {"flag": "shop", "context": {}},
    {"flag": "gone", "context": {}},
    {"flag": "cart", "context": {}},
]

with Proxy(program, file=FILE) as proxy:
    script = pathlib.Path(__file__).with_name("flags_talk.mjs")
    questions = [{"flag": "cart", "context": {"targetingKey": user}} for user in USERS] + OTHERS
    asked = subprocess.run(
        ["node", script, packages, f"http://127.0.0.1:{proxy.flags}"],
        input=json.dumps(questions).encode(), check=True, capture_output=True, timeout=60,
    )
    answers = json.loads(asked.stdout)
    assert len(answers) == len(questions), answers

    for user, got in zip(USERS, answers):
        url = "http://cart.example.com/cart"
        line = [program, "explain", url, "--cookie", f"uid={user}", "-o", "json", "-c", str(proxy.file)]
        explained = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
        assert (got["value"], got["variant"]) == (explained["variant"], explained["variant"]), (got, explained)
        assert got["reason"] == "SPLIT" and got["flagMetadata"]["bucket"] == explained["bucket"], (got, explained)
    assert {got["value"] for got in answers[: len(USERS)]} == {"stable", "canary"}, answers

    staff, only, gone, keyless = answers[len(USERS) :]
    assert (staff["value"], staff["reason"], staff["flagMetadata"]["cohort"]) == ("canary", "TARGETING_MATCH", "staff"), staff
    assert (only["value"], only["reason"]) == ("stable", "STATIC"), only
    assert (gone["value"], gone["errorCode"]) == ("default", "FLAG_NOT_FOUND"), gone
    assert (keyless["value"], keyless["errorCode"]) == ("default", "TARGETING_KEY_MISSING"), keyless
print("4 ways of asking")
