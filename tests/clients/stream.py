"""Follows a stream with httpx-sse, as its documentation says, and prints one line of JSON for each event."""

import json
import os
import sys
import time

import httpx
from httpx_sse import connect_sse

last_event_id, retry = "", 0
while True:
    headers = {"authorization": f"Bearer {os.environ['TOKEN']}", "last-event-id": last_event_id}
    try:
        with (
            httpx.Client(headers=headers, timeout=30) as client,
            connect_sse(client, "GET", os.environ["STREAM_URL"]) as source,
        ):
            for event in source.iter_sse():
                last_event_id, retry = event.id, event.retry or retry
                if not event.data:
                    continue
                data = json.loads(event.data)
                print(json.dumps({"type": event.event, "id": event.id, "data": data}), flush=True)
                if event.event == "end" and data["reason"] == "finished":
                    sys.exit()
    except httpx.TransportError:
        pass
    time.sleep(retry / 1000)
