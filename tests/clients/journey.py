"""A whole journey with the client that openapi-python-client generates. See scripts/try-openapi."""

import hashlib
import hmac
import json
import os
import time
import urllib.parse
import urllib.request
from typing import TypeVar

from renderhook_client.api.operations import get_delivery, list_deliveries
from renderhook_client.api.renders import (
    announce_render,
    erase_render,
    get_file,
    get_file_link,
    get_render,
    list_renders,
    retry_render,
)
from renderhook_client.api.webhook import receive
from renderhook_client.client import AuthenticatedClient
from renderhook_client.models.announcement import Announcement
from renderhook_client.models.announcement_metadata import AnnouncementMetadata
from renderhook_client.models.archive import Archive
from renderhook_client.models.delivery_list import DeliveryList
from renderhook_client.models.delivery_with_body import DeliveryWithBody
from renderhook_client.models.download_state import DownloadState
from renderhook_client.models.erasure_result import ErasureResult
from renderhook_client.models.event import Event
from renderhook_client.models.file_link import FileLink
from renderhook_client.models.kind import Kind
from renderhook_client.models.message import Message
from renderhook_client.models.payload import Payload
from renderhook_client.models.render import Render
from renderhook_client.models.render_list import RenderList
from renderhook_client.models.retry_result import RetryResult
from renderhook_client.models.status import Status
from renderhook_client.types import File

BASE_URL = os.environ["BASE_URL"]
FILE_URL = os.environ["FILE_URL"]
ID = "journey-python"

T = TypeVar("T")


def expect(answer: object, expected: type[T]) -> T:
    """The answer, if it is of the expected type: a `Message` is an error."""
    assert isinstance(answer, expected), answer
    return answer


def send(client: AuthenticatedClient, event: Event) -> None:
    # The generated client serializes with httpx, which writes JSON like this. No token is needed, but the client wants one.
    body = json.dumps(event.to_dict(), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    timestamp = str(int(time.time()))
    signed = hmac.new(os.environ["SECRET"].encode(), f"{timestamp}.{body}".encode(), hashlib.sha256)
    answer = receive.sync_detailed(
        client=client,
        body=event,
        magic_hour_event_signature=signed.hexdigest(),
        magic_hour_event_timestamp=timestamp,
    )
    assert answer.status_code == 200, answer
    expect(answer.parsed, Message)


def main() -> None:
    client = AuthenticatedClient(base_url=BASE_URL, token=os.environ["TOKEN"], raise_on_unexpected_status=True)

    metadata = AnnouncementMetadata()
    metadata["user"] = 7
    announcement = Announcement(kind=Kind.VIDEO, external_id="order-python", metadata=metadata)
    announced = expect(announce_render.sync(ID, client=client, body=announcement), Render)
    assert announced.status is None and announced.metadata["user"] == 7, announced

    payload = Payload(id=ID, status="complete")
    payload["downloads"] = [{"url": FILE_URL, "expires_at": "2099-01-01T00:00:00Z"}]
    send(client, Event(type_="video.completed", payload=payload))

    render = expect(get_render.sync(ID, client=client, wait="30s"), Render)
    assert render.status is Status.COMPLETE and render.archive is Archive.STORED, render
    [download] = render.downloads
    assert download.state is DownloadState.STORED and download.index == 0, download
    assert [transition.to for transition in render.transitions] == [Status.COMPLETE], render

    listed = expect(list_renders.sync(client=client, external_id="order-python", status=Status.COMPLETE), RenderList)
    assert [found.id for found in listed.renders] == [ID], listed

    content = expect(get_file.sync(ID, 0, client=client), File).payload.read()
    link = expect(get_file_link.sync(ID, 0, client=client), FileLink)
    assert link.expires_at.timestamp() > time.time(), link
    # A link needs no token.
    with urllib.request.urlopen(urllib.parse.urljoin(BASE_URL, link.url)) as answer:
        assert answer.read() == content
    with urllib.request.urlopen(FILE_URL) as answer:
        assert answer.read() == content

    retried = expect(retry_render.sync(ID, client=client), RetryResult)
    assert retried.downloads == [], retried

    [newest] = expect(list_deliveries.sync(client=client, render_id=ID), DeliveryList).deliveries
    delivery = expect(get_delivery.sync(newest.id, client=client), DeliveryWithBody)
    assert delivery.event_type == "video.completed" and delivery.body and ID in delivery.body, delivery

    while expect(erase_render.sync(ID, client=client), ErasureResult).erased_at is None:
        time.sleep(0.1)

    expect(get_render.sync("unknown", client=client), Message)
    print("openapi-python-client: the journey is complete")


main()
