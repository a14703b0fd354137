"""burst.py URL REQUESTS: sends all of them at once, and minds no answer."""

import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor


def get(url):
    try:
        urllib.request.urlopen(url, timeout=10).read()
    except urllib.error.HTTPError:
        pass  # a refusal is what the burst is for; the referee counts them


url, requests = sys.argv[1], int(sys.argv[2])
with ThreadPoolExecutor(requests) as pool:
    list(pool.map(get, [url] * requests))
