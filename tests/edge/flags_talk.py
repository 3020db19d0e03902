"""OpenFeature's SDK asks Ringway by its OFREP provider: a pinned cohort, a split, a default, and errors of the protocol."""

import json
import subprocess
import sys

from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from flags_file import FILE
from proxied import Proxy

program = sys.argv[1]
with Proxy(program, file=FILE) as proxy:
    api.set_provider(OFREPProvider(f"http://127.0.0.1:{proxy.flags}"))
    client = api.get_client()

    staff = client.get_string_details("cart", "none", EvaluationContext("u-1", {"x-employee": "1"}))
    assert (staff.value, staff.reason) == ("canary", "TARGETING_MATCH"), staff
    assert staff.flag_metadata["cohort"] == "staff", staff

    seen = set()
    for user in range(30):
        got = client.get_string_details("cart", "none", EvaluationContext(f"u-{user}"))
        url = "http://cart.example.com/cart"
        line = [program, "explain", url, "--cookie", f"uid=u-{user}", "-o", "json", "-c", str(proxy.file)]
        explained = json.loads(subprocess.run(line, check=True, capture_output=True).stdout)
        assert (got.value, got.reason) == (explained["variant"], "SPLIT"), (got, explained)
        assert got.flag_metadata["bucket"] == explained["bucket"], (got, explained)
        seen.add(got.value)
    assert seen == {"stable", "canary"}, seen

    only = client.get_string_details("shop", "none")
    assert (only.value, only.reason) == ("stable", "STATIC"), only
    for flag, code in [("gone", ErrorCode.FLAG_NOT_FOUND), ("cart", ErrorCode.TARGETING_KEY_MISSING)]:
        failed = client.get_string_details(flag, "default")
        assert (failed.value, failed.error_code) == ("default", code), failed
print("4 ways of asking")
