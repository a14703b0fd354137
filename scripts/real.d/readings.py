"""readings.py URL: every device's latest reading, as a reader sees it. The key is taken from PACELINE_KEY."""

import json
import os
import sys
import urllib.parse
import urllib.request


def devices(url):
    after = None
    while True:
        query = f"?{urllib.parse.urlencode({'after': after})}" if after else ""
        request = urllib.request.Request(
            f"{url}/v1/devices{query}", headers={"Authorization": f"Bearer {os.environ['PACELINE_KEY']}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            page = json.load(answer)
        yield from page["devices"]
        after = page["next"]
        if not after:
            return


def main():
    missing = 0
    for device in devices(sys.argv[1]):
        reading = device["resources"].get("state") or {}
        missing += not reading.get("fetched_at")
        values = json.dumps(reading.get("values"), ensure_ascii=False)
        ago_s = (reading.get("fetched_ago_ms") or 0) / 1000
        print(f"{device['external_id']:44} fetched {ago_s:6.1f} s ago  {values[:72]}")
    if missing:
        sys.exit(f"{missing} devices have no reading")


main()
