"""homeassistant.py URL TOKEN_FILE COMMAND: what scripts/real asks Home Assistant itself.

token                   makes the first user, as its page of welcome does, and prints a long-lived token
devices DEVICES_MIN     the entities that are devices, as rows for `paceline device import`; fails if there are fewer
compare PACELINE_URL    changes some, and waits until Paceline shows every entity as it is; the key is in PACELINE_KEY
"""

import asyncio
import json
import os
import secrets
import sys
import time

import aiohttp

DOMAINS = """air_quality alarm_control_panel binary_sensor climate cover fan humidifier light lock media_player number
select sensor siren switch vacuum water_heater weather""".split()
# What Paceline must show of an entity whose state is text: the value that has it.
TEXTS = {"climate": "mode", "water_heater": "mode", "select": "state", "cover": "state", "lock": "state"}
SWITCHED = ("switch", "light", "fan", "siren", "humidifier")
# Of the same unit in readings: the state itself.
SAME_UNIT = ("°C", "%", "ppm", "W", "m³")
# (service, entity and more) in turn.
CHANGES = [
    ("number/set_value", {"entity_id": "number.temperature_setting", "value": 27}),
    ("switch/turn_on", {"entity_id": "switch.ac"}),
    ("light/turn_on", {"entity_id": "light.bed_light", "brightness": 51}),
    ("climate/set_temperature", {"entity_id": "climate.heatpump", "temperature": 24.5}),
    ("lock/unlock", {"entity_id": "lock.front_door"}),
    ("select/select_option", {"entity_id": "select.speed", "option": "light_speed"}),
]
OUT_OF_REACH = "sensor.outside_humidity"
WAIT_S_MAX = 30


class House:
    def __init__(self, session, url, token):
        self.session, self.url = session, url
        self.headers = {"Authorization": f"Bearer {token}"}

    async def ask(self, method, path, **options):
        async with self.session.request(method, self.url + path, headers=self.headers, **options) as answer:
            answer.raise_for_status()
            return await answer.json()

    async def states(self):
        return {state["entity_id"]: state for state in await self.ask("GET", "/api/states")}


def is_device(entity_id):
    return entity_id.split(".")[0] in DOMAINS


async def make_token(session, url):
    user = {"client_id": f"{url}/", "name": "Owner", "username": "owner", "language": "en"}
    user["password"] = secrets.token_urlsafe(24)
    async with session.post(f"{url}/api/onboarding/users", json=user) as answer:
        answer.raise_for_status()
        code = (await answer.json())["auth_code"]
    login = {"client_id": f"{url}/", "grant_type": "authorization_code", "code": code}
    async with session.post(f"{url}/auth/token", data=login) as answer:
        answer.raise_for_status()
        token = (await answer.json())["access_token"]
    async with session.ws_connect(f"{url}/api/websocket") as socket:
        await socket.receive_json()
        await socket.send_json({"type": "auth", "access_token": token})
        await socket.receive_json()
        ask = {"id": 1, "type": "auth/long_lived_access_token", "client_name": "Paceline", "lifespan": 1}
        await socket.send_json(ask)
        print((await socket.receive_json())["result"])


async def list_devices(house, devices_min):
    states = [state for entity_id, state in sorted((await house.states()).items()) if is_device(entity_id)]
    for state in states:
        name = state["attributes"].get("friendly_name", state["entity_id"])
        jobs = {"state": {"interval": "1s", "priority": "high"}}
        print(json.dumps({"external_id": state["entity_id"], "name": name, "jobs": jobs}))
    if len(states) < devices_min:
        sys.exit(f"{len(states)} of {devices_min} devices")


async def readings(session, url):
    """Of each device: its last reading."""
    headers, after, found = {"Authorization": f"Bearer {os.environ['PACELINE_KEY']}"}, "", {}
    while after is not None:
        query = {"after": after} if after else {}
        async with session.get(f"{url}/v1/devices", headers=headers, params=query) as answer:
            page = await answer.json()
        found.update((device["external_id"], device["resources"]["state"]) for device in page["devices"])
        after = page["next"]
    return found


def expected(state):
    """(name, value) that its reading must have, as far as that follows from the state alone."""
    domain, told = state["entity_id"].split(".")[0], state["state"]
    if domain in TEXTS:
        return TEXTS[domain], told
    if domain in SWITCHED:
        return "on", told == "on"
    if domain == "number" and "unit_of_measurement" in state["attributes"]:
        return "setpoint_c", float(told)
    return None


def difference(state, reading):
    """What is wrong with a reading; nothing if it is what the house says."""
    if not reading["fresh"]:
        return f"not fresh: fetched {reading['fetched_ago_ms']} ms ago, {reading['age_ms']} ms old"
    if state["state"] == "unavailable":
        return "still online" if reading["online"] else None
    at, seen = (state.get("last_reported") or state["last_updated"])[:23], (reading["observed_at"] or "")[:23]
    if at != seen:
        return f"of {seen}, where the house says {at}"
    values = reading["values"] or {}
    if state["entity_id"].startswith("sensor.") and state["attributes"].get("unit_of_measurement") in SAME_UNIT:
        number = float(state["state"])
        return None if number in values.values() else f"{values} without {number}"
    name, value = expected(state) or (None, None)
    return None if values.get(name) == value else f"{name} is {values.get(name)}, where the house says {value}"


async def compare(house, paceline_url):
    for service, data in CHANGES:
        await house.ask("POST", f"/api/services/{service}", json=data)
    await house.ask("POST", f"/api/states/{OUT_OF_REACH}", json={"state": "unavailable"})
    changed_s = time.monotonic()
    while True:
        before, found = await house.states(), await readings(house.session, paceline_url)
        wrong = {entity_id: difference(before[entity_id], reading) for entity_id, reading in found.items()}
        wrong = {entity_id: why for entity_id, why in wrong.items() if why}
        took_s = time.monotonic() - changed_s
        if not wrong:
            break
        if took_s > WAIT_S_MAX:
            sys.exit("\n".join(f"{entity_id}: {why}" for entity_id, why in wrong.items()))
        await asyncio.sleep(0.1)
    kept = found[OUT_OF_REACH]["values"]
    if not kept:
        sys.exit(f"{OUT_OF_REACH} lost its last value when it went out of reach")
    print(f"{len(found)} devices fresh and as the house says, {took_s:.1f} s after {len(CHANGES)} changes")
    print(f"{OUT_OF_REACH} is offline and keeps {kept}")


async def main():
    url, token_file, command = sys.argv[1:4]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        if command == "token":
            return await make_token(session, url)
        with open(token_file) as file:
            house = House(session, url, file.read().strip())
        if command == "devices":
            await list_devices(house, int(sys.argv[4]))
        else:
            await compare(house, sys.argv[4])


asyncio.run(main())
