"""An application that renderhook tells when the files of a render are safe.

    pip install fastapi uvicorn httpx standardwebhooks
    RENDERHOOK_URL=http://127.0.0.1:8080 RENDERHOOK_TOKEN=… NOTIFY_SECRET=whsec_… uvicorn app:app --port 3000

renderhook runs with NOTIFY_URL=http://127.0.0.1:3000/hooks/renders and the same NOTIFY_SECRET.
"""

import os
from pathlib import Path

import httpx
from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["NOTIFY_SECRET"])
renderhook = httpx.AsyncClient(
    base_url=os.environ["RENDERHOOK_URL"],
    headers={"authorization": f"Bearer {os.environ['RENDERHOOK_TOKEN']}"},
    follow_redirects=True,  # to the bucket, without the token
)
folder = Path(os.environ.get("FILES", "files"))
seen: set[str] = set()  # in production: a table with a unique key, written with what the message changes
app = FastAPI()


@app.put("/orders/{order}/render/{render_id}")
async def announce(order: str, render_id: str) -> dict:
    """Once Magic Hour has created the render: renderhook knows it by a name of ours from now on."""
    answer = await renderhook.put(f"/renders/{render_id}", json={"kind": "video", "external_id": order})
    answer.raise_for_status()
    return answer.json()


@app.post("/hooks/renders", status_code=204)
async def hook(request: Request) -> None:
    try:
        message = webhook.verify(await request.body(), dict(request.headers))
    except WebhookVerificationError as error:
        raise HTTPException(400, "the signature is not valid") from error
    if request.headers["webhook-id"] in seen:
        return  # a repetition
    if message["type"] == "render.ready":
        for download in message["data"]["downloads"]:
            await fetch(message["data"]["external_id"], download)
    # Only now: if something failed above, the answer is 500, and renderhook posts the message again.
    seen.add(request.headers["webhook-id"])


async def fetch(order: str, download: dict) -> None:
    """Files that take longer than NOTIFY_TIMEOUT belong into a queue."""
    (folder / order).mkdir(parents=True, exist_ok=True)
    async with renderhook.stream("GET", download["url"]) as answer:
        answer.raise_for_status()
        with (folder / order / str(download["index"])).open("wb") as file:
            async for chunk in answer.aiter_bytes():
                file.write(chunk)
