"""A receiver written after Magic Hour's FastAPI guide and made durable: it commits the event and its render before it
answers. `scripts/bench` compares renderhook with it."""

import hashlib
import hmac
import json
import os
import time
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import asyncpg
from fastapi import FastAPI, HTTPException, Request

DATABASE_URL = os.environ["DATABASE_URL"]
# Where the socket is. asyncpg would prefer the address's host to it.
SOCKET = parse_qs(urlsplit(DATABASE_URL).query).get("host", [None])[0]
SECRET = os.environ["MAGIC_HOUR_WEBHOOK_SECRET"].encode()


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.pool = await asyncpg.create_pool(DATABASE_URL, host=SOCKET, min_size=1, max_size=16)
    yield
    await app.state.pool.close()


app = FastAPI(lifespan=lifespan)


@app.get("/ready")
async def ready():
    return {"message": "ready"}


@app.post("/webhook")
async def webhook(request: Request):
    body = await request.body()
    signature = request.headers.get("magic-hour-event-signature", "")
    timestamp = request.headers.get("magic-hour-event-timestamp", "0")
    expected = hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, signature) or abs(time.time() - int(timestamp)) > 300:
        raise HTTPException(401, "invalid signature")
    event = json.loads(body)
    payload = event["payload"]
    async with app.state.pool.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO renders (id, status, updated_at) VALUES ($1, $2, now()) "
            "ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at",
            payload["id"],
            payload["status"],
        )
        await connection.execute(
            "INSERT INTO deliveries (render_id, received_at, body) VALUES ($1, now(), $2)", payload["id"], body
        )
    return {"message": "ok"}
