// Follows a stream with the package `eventsource`, which reconnects by itself, and prints one line of JSON for each event.

import { EventSource } from "eventsource";

const { STREAM_URL, TOKEN, STAYS_OPEN } = process.env;
const types = [
  "render.ready", "render.incomplete", "render.failed", "render.canceled", "render.moved",
  "download.stored", "download.failed", "reset", "end",
];

const source = new EventSource(STREAM_URL, {
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, authorization: `Bearer ${TOKEN}` } }),
});
for (const type of types) {
  source.addEventListener(type, (event) => {
    const data = JSON.parse(event.data);
    console.log(JSON.stringify({ type, id: event.lastEventId, data }));
    if (type === "end" && data.reason === "finished" && !STAYS_OPEN) source.close();
  });
}
