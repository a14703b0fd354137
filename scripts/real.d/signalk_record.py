"""signalk_record.py URL DIR: writes the answers of a live server as fixtures."""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SELF = "/signalk/v1/api/vessels/self"
WAIT_S_MAX = 90  # paths appear as the first sentence that carries them is replayed
BRANCHES = {
    "self.json": SELF,
    "navigation.json": f"{SELF}/navigation",
    "environment.json": f"{SELF}/environment",
}
LEAVES = {
    "speed_over_ground.json": f"{SELF}/navigation/speedOverGround",
    "position.json": f"{SELF}/navigation/position",
    "gnss_type.json": f"{SELF}/navigation/gnss/type",
    "velocity_made_good.json": f"{SELF}/performance/velocityMadeGood",
    "time_remaining.json": f"{SELF}/electrical/batteries/1/capacity/timeRemaining",
}


def get(url):
    # The discovery answer quotes the Host header: the server's own default keeps it the same from run to run.
    request = urllib.request.Request(url, headers={"Host": "127.0.0.1:3000"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def get_when_there(url):
    deadline_s = time.monotonic() + WAIT_S_MAX
    while True:
        status, body = get(url)
        if status == 200:
            return json.loads(body)
        if time.monotonic() > deadline_s:
            sys.exit(f"{url}: {status} after {WAIT_S_MAX} s")
        time.sleep(0.5)


def trimmed(node):
    """Without the schema's texts, and with at most two items of a list: what remains has the full shape."""
    if isinstance(node, dict):
        return {key: trimmed(child) for key, child in node.items() if key != "meta"}
    if isinstance(node, list):
        return [trimmed(child) for child in node[:2]]
    return node


def main():
    url, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)

    def write(file, answer):
        (out / file).write_text(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")

    for file, path in LEAVES.items():
        write(file, get_when_there(url + path))
    for file, path in BRANCHES.items():
        write(file, trimmed(get_when_there(url + path)))
    write("discovery.json", get_when_there(f"{url}/signalk"))
    status, body = get(f"{url}{SELF}/navigation/nowhere")
    assert status == 404, status
    (out / "not_found.html").write_text(body)
    print(f"recorded {len(LEAVES) + len(BRANCHES) + 2} fixtures in {out}")


main()
