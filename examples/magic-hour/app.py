"""A whole application: Magic Hour's SDK creates a picture, renderhook tells when its file is safe, and the file arrives.

    pip install fastapi uvicorn httpx standardwebhooks magic-hour
    RENDERHOOK_URL=http://127.0.0.1:8080 RENDERHOOK_TOKEN=… NOTIFY_SECRET=whsec_… MAGIC_HOUR_API_KEY=… \
        uvicorn app:app --port 3000

renderhook runs with NOTIFY_URL=http://127.0.0.1:3000/hooks/renders and the same NOTIFY_SECRET and MAGIC_HOUR_API_KEY.
With MAGIC_HOUR_API_URL=http://127.0.0.1:9000, here and there, a stand-in renders: docs/develop.md says how.
"""

import os
from pathlib import Path

import httpx
from fastapi import FastAPI, HTTPException, Request
from magic_hour import AsyncClient
from standardwebhooks import Webhook, WebhookVerificationError

magic_hour = AsyncClient(token=os.environ["MAGIC_HOUR_API_KEY"], base_url=os.environ.get("MAGIC_HOUR_API_URL"))
webhook = Webhook(os.environ["NOTIFY_SECRET"])
renderhook = httpx.AsyncClient(
    base_url=os.environ["RENDERHOOK_URL"],
    headers={"authorization": f"Bearer {os.environ['RENDERHOOK_TOKEN']}"},
    follow_redirects=True,  # to the bucket, without the token
)
folder = Path(os.environ.get("FILES", "files"))
orders: dict[str, dict] = {}  # in production: a table
app = FastAPI()


@app.post("/orders/{order}")
async def create(order: str, prompt: str) -> dict:
    # The name comes back in every notification, even in one that overtakes this function.
    orders[order] = {"state": "rendering"}
    created = await magic_hour.v1.ai_image_generator.create(name=order, image_count=1, style={"prompt": prompt})
    # From now on renderhook asks Magic Hour, should no webhook come.
    announced = await renderhook.put(f"/renders/{created.id}", json={"kind": "image", "external_id": order})
    announced.raise_for_status()
    return {"render": created.id, "credits": created.credits_charged}


@app.get("/orders/{order}")
async def show(order: str) -> dict:
    if order not in orders:
        raise HTTPException(404, "there is no such order")
    return orders[order]


@app.post("/hooks/renders", status_code=204)
async def hook(request: Request) -> None:
    try:
        message = webhook.verify(await request.body(), dict(request.headers))
    except WebhookVerificationError as error:
        raise HTTPException(400, "the signature is not valid") from error
    render = message["data"]
    # A message may come twice: what follows does the same again.
    match message["type"]:
        case "render.ready":
            files = [await fetch(render["name"], download) for download in render["downloads"]]
            orders[render["name"]] = {"state": "ready", "files": files}
        case "render.failed":
            orders[render["name"]] = {"state": "failed", "reason": render["error"]["message"]}
        case "render.canceled":
            orders[render["name"]] = {"state": "canceled"}


async def fetch(order: str, download: dict) -> str:
    """Files that take longer than NOTIFY_TIMEOUT belong into a queue."""
    path = folder / order / str(download["index"])
    path.parent.mkdir(parents=True, exist_ok=True)
    async with renderhook.stream("GET", download["url"]) as answer:
        answer.raise_for_status()
        with path.open("wb") as file:
            async for chunk in answer.aiter_bytes():
                file.write(chunk)
    return str(path)
