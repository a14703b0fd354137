"""signalk_devices.py URL DEVICES_MIN: the vessel's tree as rows for `paceline device import`, one per leaf.

A leaf is a node with a value and a timestamp. Fails while there are fewer than DEVICES_MIN: paths appear as the
first sentence that carries them is replayed.
"""

import json
import re
import sys
import urllib.request


def leaves(node, path=()):
    if not isinstance(node, dict):
        return
    if "value" in node and "timestamp" in node:
        yield path  # what lies below, under "values", are the same path's sources
        return
    for key, child in sorted(node.items()):
        yield from leaves(child, (*path, key))


def name(path):
    """environment/wind/speedApparent → Wind speed apparent"""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join(path[-2:])).lower()
    return words.removeprefix("navigation ").capitalize()


def main():
    url, devices_min = sys.argv[1], int(sys.argv[2])
    with urllib.request.urlopen(f"{url}/signalk/v1/api/vessels/self", timeout=5) as answer:
        paths = list(leaves(json.load(answer)))
    for path in paths:
        jobs = {"state": {"interval": "1s", "priority": "high"}}
        print(json.dumps({"external_id": "/".join(path), "name": name(path), "jobs": jobs}))
    if len(paths) < devices_min:
        sys.exit(f"{len(paths)} of {devices_min} devices")


main()
