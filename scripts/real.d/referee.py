"""The referee's own count, from its access log: requests, refusals, the busiest second, the share of the quota used.

Lines are `msec request_time status limit_req_status uri`; a request arrived at msec - request_time.
"""

import argparse
import sys


def read(lines):
    """(arrival_ms, status) of every request, in order of arrival."""
    requests = []
    for line in lines:
        ended_s, took_s, status, _ = line.split(" ", 3)
        requests.append((round((float(ended_s) - float(took_s)) * 1000), int(status)))
    return sorted(requests)


def peak(arrivals_ms, window_ms=1000):
    """The most arrivals any window [t, t + window_ms) holds; only windows that begin with one need a look."""
    most, first = 0, 0
    for last, arrival_ms in enumerate(arrivals_ms):
        while arrival_ms - arrivals_ms[first] >= window_ms:
            first += 1
        most = max(most, last - first + 1)
    return most


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log")
    parser.add_argument("--rate", type=float, required=True, help="the quota, requests a second")
    parser.add_argument("--seconds", type=float, help="count only this long from the first request on")
    parser.add_argument("--refusals", choices=["some", "none"], help="fail unless there were some, or none")
    args = parser.parse_args()

    with open(args.log) as file:
        requests = read(file)
    if not requests:
        sys.exit("the referee saw no request")
    begin_ms = requests[0][0]
    if args.seconds:
        requests = [r for r in requests if r[0] < begin_ms + args.seconds * 1000]
    span_s = args.seconds or max((requests[-1][0] - begin_ms) / 1000, 1)
    refused = sum(status == 429 for _, status in requests)
    failed = sum(status >= 400 and status != 429 for _, status in requests)
    used = (len(requests) - refused) / (args.rate * span_s)

    print(f"requests          {len(requests)} in {span_s:g} s")
    print(f"refused (429)     {refused}")
    print(f"other failures    {failed}")
    print(f"busiest second    {peak([arrival_ms for arrival_ms, _ in requests])} requests (quota {args.rate:g})")
    print(f"quota used        {used:.1%}")
    if args.refusals and (args.refusals == "some") != (refused > 0):
        sys.exit(1)


if __name__ == "__main__":
    main()
