// An application that renderhook tells when the files of a render are safe.
//
//     npm install express standardwebhooks
//     RENDERHOOK_URL=http://127.0.0.1:8080 RENDERHOOK_TOKEN=… NOTIFY_SECRET=whsec_… PORT=3000 node app.mjs
//
// renderhook runs with NOTIFY_URL=http://127.0.0.1:3000/hooks/renders and the same NOTIFY_SECRET.

import { createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import express from "express";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { RENDERHOOK_URL, RENDERHOOK_TOKEN, NOTIFY_SECRET, FILES = "files", PORT = "3000" } = process.env;
const webhook = new Webhook(NOTIFY_SECRET);
const seen = new Set(); // in production: a table with a unique key, written with what the message changes
const app = express();

// A redirect to the bucket is followed without the token.
async function renderhook(path, options = {}) {
  const headers = { authorization: `Bearer ${RENDERHOOK_TOKEN}` };
  const answer = await fetch(new URL(path, RENDERHOOK_URL), { ...options, headers });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer;
}

// Once Magic Hour has created the render: renderhook knows it by a name of ours from now on.
app.put("/orders/:order/render/:id", async (request, response) => {
  const body = JSON.stringify({ kind: "video", external_id: request.params.order });
  const answer = await renderhook(`/renders/${encodeURIComponent(request.params.id)}`, { method: "PUT", body });
  response.json(await answer.json());
});

// The signature is over the raw body.
app.post("/hooks/renders", express.raw({ type: "application/json", limit: "10mb" }), async (request, response) => {
  const { type, data } = webhook.verify(request.body, request.headers);
  const id = request.headers["webhook-id"];
  if (type === "render.ready" && !seen.has(id)) {
    for (const download of data.downloads) await store(data.external_id, download);
  }
  // Only now: if something failed above, the answer is 500, and renderhook posts the message again.
  seen.add(id);
  response.sendStatus(204);
});

app.use((error, _request, response, _next) => {
  response.status(error instanceof WebhookVerificationError ? 400 : 500).json({ message: error.message });
});

// Files that take longer than NOTIFY_TIMEOUT belong into a queue.
async function store(order, { index, url }) {
  await mkdir(join(FILES, order), { recursive: true });
  const answer = await renderhook(url);
  await pipeline(Readable.fromWeb(answer.body), createWriteStream(join(FILES, order, String(index))));
}

app.listen(Number(PORT), "127.0.0.1");
