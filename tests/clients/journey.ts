// A whole journey with the types that openapi-typescript generates and openapi-fetch. See scripts/try-openapi.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Event = components["schemas"]["Event"];
type Render = components["schemas"]["Render"];

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

const baseUrl = setting("BASE_URL");
const fileUrl = setting("FILE_URL");
const id = "journey-typescript";

const stranger = createClient<paths>({ baseUrl });
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${setting("TOKEN")}` } });

// The data of an answer; `error` is a `Message`.
function expect<T>(answer: { data?: T; error?: components["schemas"]["Message"] }): T {
  assert(answer.data !== undefined, answer.error?.message);
  return answer.data;
}

async function send(event: Event): Promise<void> {
  const body = JSON.stringify(event);
  const timestamp = Math.floor(Date.now() / 1000).toString();
  const signature = createHmac("sha256", setting("SECRET")).update(`${timestamp}.${body}`).digest("hex");
  const header = { "magic-hour-event-signature": signature, "magic-hour-event-timestamp": timestamp };
  const answer = await stranger.POST("/webhook", { params: { header }, body: event, bodySerializer: () => body });
  assert.equal(answer.response.status, 200, answer.error?.message);
}

async function bytes(url: string): Promise<Uint8Array> {
  const answer = await fetch(url);
  assert.equal(answer.status, 200);
  return new Uint8Array(await answer.arrayBuffer());
}

const announced: Render = expect(
  await client.PUT("/renders/{id}", {
    params: { path: { id } },
    body: { kind: "video", external_id: "order-typescript", metadata: { user: 7 } },
  }),
);
assert.equal(announced.status, null);
assert.deepEqual(announced.metadata, { user: 7 });

const downloads = [{ url: fileUrl, expires_at: "2099-01-01T00:00:00Z" }];
// `downloads` is one of the fields that the document does not describe.
const payload: Event["payload"] & { downloads: typeof downloads } = { id, status: "complete", downloads };
await send({ type: "video.completed", payload });

const render: Render = expect(
  await client.GET("/renders/{id}", { params: { path: { id }, query: { wait: "30s" } } }),
);
assert.equal(render.status, "complete");
assert.equal(render.archive, "stored");
assert.deepEqual(render.downloads.map(({ index, state }) => ({ index, state })), [{ index: 0, state: "stored" }]);
assert.deepEqual(render.transitions.map(({ to }) => to), ["complete"]);

const listed = expect(
  await client.GET("/renders", { params: { query: { external_id: "order-typescript", status: "complete" } } }),
);
assert.deepEqual(listed.renders.map((found) => found.id), [id]);

const place = { path: { id, index: 0 } };
const file = await client.GET("/renders/{id}/downloads/{index}", { params: place, parseAs: "arrayBuffer" });
assert(file.data, "the file");
const content = new Uint8Array(file.data);
const link = expect(await client.GET("/renders/{id}/downloads/{index}/link", { params: place }));
assert(new Date(link.expires_at) > new Date());
// A link needs no token.
assert.deepEqual(await bytes(new URL(link.url, baseUrl).href), content);
assert.deepEqual(await bytes(fileUrl), content);

const retried = expect(await client.POST("/renders/{id}/retry", { params: { path: { id } } }));
assert.deepEqual(retried.downloads, []);

const { deliveries } = expect(await client.GET("/deliveries", { params: { query: { render_id: id } } }));
const [newest] = deliveries;
assert(newest, "a delivery");
const delivery = expect(await client.GET("/deliveries/{id}", { params: { path: { id: newest.id } } }));
assert.equal(delivery.event_type, "video.completed");
assert(delivery.body?.includes(id));

const erase = async () => expect(await client.DELETE("/renders/{id}", { params: { path: { id } } }));
while ((await erase()).erased_at === null) await new Promise((resolve) => setTimeout(resolve, 100));

const unknown = await client.GET("/renders/{id}", { params: { path: { id: "unknown" } } });
assert.equal(unknown.response.status, 404);
assert(unknown.error?.message);
console.log("openapi-typescript: the journey is complete");
