"""Shows what a box announces to Home Assistant itself: each configuration to the schema of its entity, each template to the
template engine, with the messages that the box really sends.

    python tests/home_assistant.py

Reads tests/golden/home_assistant and tests/golden/wire, which `cargo test` holds to what the program writes. Needs the packages
homeassistant and jsonschema; of Home Assistant the newest that runs on this Python.
"""

import asyncio
import importlib
import json
import pathlib
import tempfile
from datetime import datetime

import jsonschema
from homeassistant.components.mqtt.discovery import TOPIC_MATCHER
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame
from homeassistant.helpers.template import Template

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"

# What some messages have to come to: message, entity, value.
EXPECTED = [
    ("alarm-raised", "in_ALARM_jam", "ON"),
    ("alarm-shelved", "in_ALARM_jam", "OFF"),
    ("alarm-first", "in_ALARM_jam", "OFF"),
    ("alarm-raised", "in_STATE_jam", "unacknowledged"),
    ("alarm-shelved", "in_STATE_jam", "shelved"),
    ("count", "in_EVER_bottles", 90142),
    ("count-closed", "in_COUNT_bottles", 134),
    ("total", "in_TOTAL_till", 12.34),
    ("total-expected", "in_TOTAL_till", -0.005),
    ("status-online", "CONNECTION", "ON"),
    ("status-degraded", "CONNECTION", "ON"),
    ("status-stopped", "CONNECTION", "OFF"),
    ("status-will", "CONNECTION", "OFF"),
    ("status-online", "PROBLEM", "OFF"),
    ("status-degraded", "PROBLEM", "ON"),
    ("camera-live", "in_CAMERA", "ON"),
    ("camera-blind", "in_CAMERA", "ON"),
    ("camera-stalled", "in_CAMERA", "OFF"),
    ("camera-absent", "in_CAMERA", "OFF"),
]

# Keys that a Home Assistant before 2024.11 leaves out, and does without.
NEWER = {"options"} if tuple(map(int, __version__.split(".")[:2])) < (2024, 11) else set()

# Every state of an alarm, and whether there is a problem then.
STATES = {"normal": "OFF", "unacknowledged": "ON", "acknowledged": "ON", "returned": "OFF", "shelved": "OFF"}
EXPECTED += [(f"alarm-{state}", "in_ALARM_jam", value) for state, value in STATES.items()]
EXPECTED += [(f"alarm-{state}", "in_STATE_jam", state) for state in STATES]

AVAILABLE = {"status-online": "online", "status-degraded": "online", "status-stopped": "offline", "status-will": "offline"}


def messages():
    """What the box sends: name, topic, payload."""
    found = []
    for path in sorted((GOLDEN / "wire").glob("*.txt")):
        head, payload = path.read_text().split("\n", 1)
        found.append((path.stem, head.split(" ")[0], payload.strip()))
    return found


def same_kind(filter_, topic):
    """Whether a topic is the filter's, or that of another rule of the same kind."""
    wanted, got = filter_.split("/"), topic.split("/")
    if len(wanted) == 5:
        wanted, got = wanted[:4], got[:-1]
    return wanted == got


def check_schema(component, config):
    """The entity's own schema takes the configuration, and leaves nothing of it out."""
    module = importlib.import_module(f"homeassistant.components.mqtt.{component}")
    taken = module.DISCOVERY_SCHEMA({**config, "platform": "mqtt"})
    lost = sorted(set(config) - set(taken) - NEWER)
    assert not lost, f"Home Assistant leaves out {lost}"


def refuses(component, config):
    try:
        check_schema(component, config)
    except Exception:
        return True
    return False


def check_value(component, config, value):
    """A value is one that the entity can have."""
    if component == "binary_sensor":
        assert value in ("ON", "OFF"), value
    elif component == "event":
        event = json.loads(value)
        assert event["event_type"] in config["event_types"], event
    elif "options" in config:
        assert value in config["options"], value
    else:
        float(value)


def check_templates(hass, component, config, heard):
    """All templates with all messages that they may meet; gives the values by message."""
    def render(key, payload, template):
        text = Template(template, hass).async_render_with_possible_json_value(payload, "ERROR")
        assert text not in ("ERROR", ""), f"{key}: {template} gives {text!r} with {payload}"
        return text

    values = {}
    for name, topic, payload in heard:
        for place in config.get("availability", []):
            if topic == place["topic"]:
                got = render("availability", payload, place["value_template"])
                assert got == AVAILABLE.get(name, got) and got in ("online", "offline"), (name, got)
        # Another device of the same prefix, or another topic.
        if "simulated" in name:
            continue
        if "value_template" in config and same_kind(config["state_topic"], topic):
            values[name] = render("value_template", payload, config["value_template"])
            check_value(component, config, values[name])
        if "last_reset_value_template" in config and same_kind(config["state_topic"], topic):
            datetime.fromisoformat(render("last_reset", payload, config["last_reset_value_template"]))
        if "json_attributes_template" in config and same_kind(config["json_attributes_topic"], topic):
            attributes = json.loads(render("attributes", payload, config["json_attributes_template"]))
            assert isinstance(attributes, dict) and attributes, attributes
    if "value_template" in config:
        assert values, f"no message of {config['state_topic']} lies in {GOLDEN}/wire"
    return values


def check_bundles(announced):
    """The entities of each device in one object, by the schema of the device discovery."""
    schema = json.loads((GOLDEN / "home_assistant/bundle.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    bundles = {}
    for component, object_id, config in announced:
        config = {"platform": component, **config}
        device, origin = config.pop("device"), config.pop("origin")
        bundle = bundles.setdefault(device["identifiers"][0], {"device": device, "origin": origin, "components": {}})
        bundle["components"][object_id] = config
    for bundle in bundles.values():
        jsonschema.validate(bundle, schema)
    return len(bundles)


async def main():
    hass = HomeAssistant(tempfile.mkdtemp())
    if hasattr(frame, "async_setup"):
        frame.async_setup(hass)
    announced = []
    for line in (GOLDEN / "home_assistant/discovery.jsonl").read_text().splitlines():
        message = json.loads(line)
        prefix, rest = message["topic"].split("/", 1)
        match = TOPIC_MATCHER.match(rest)
        assert prefix == "homeassistant" and match, f"{message['topic']} is no topic of a discovery"
        assert match.group("node_id") == "press-4", message["topic"]
        announced.append((match.group("component"), match.group("object_id"), message["config"]))
    heard, values, rendered = messages(), {}, 0
    raised = next(message for message in heard if message[0] == "alarm-raised")
    heard += [(f"alarm-{state}", raised[1], raised[2].replace('"unacknowledged"', f'"{state}"')) for state in STATES]
    for component, object_id, config in announced:
        check_schema(component, config)
        assert refuses(component, {**config, "device": {"name": "without identifiers"}}), "the schema is not asked"
        assert refuses(component, {**config, "unknown_key": 1}), "a key that is left out is not noticed"
        values[object_id] = check_templates(hass, component, config, heard)
        rendered += len(values[object_id])
    for name, object_id, expected in EXPECTED:
        got = values[object_id][name]
        assert (float(got) if isinstance(expected, float | int) else got) == expected, (name, object_id, got)
    devices = check_bundles(announced)
    print(f"Home Assistant {__version__} takes {len(announced)} entities of {devices} devices; {rendered} values are right")


asyncio.run(main())
