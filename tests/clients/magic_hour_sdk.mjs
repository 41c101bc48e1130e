// What Magic Hour's own SDK for Node does with renders, against the stand-in. See tests/it/clients/sdks.rs.

import assert from "node:assert/strict";
import { statSync } from "node:fs";
import magicHour from "magic-hour";

const { MAGIC_HOUR_URL: baseUrl, MAGIC_HOUR_KEY: token } = process.env;
const { v1 } = new magicHour.default({ baseUrl, token });
const downloads = { waitForCompletion: true, downloadOutputs: true, downloadDirectory: process.cwd() };

async function finish(projects, created) {
  const done = await projects.checkResult({ id: created.id }, downloads);
  assert.equal(done.status, "complete");
  assert.equal(done.creditsCharged, created.creditsCharged);
  assert.ok(done.downloadedPaths.length > 0 && done.downloadedPaths.every((path) => statSync(path).size > 0));
  await projects.delete({ id: created.id });
  await assert.rejects(projects.get({ id: created.id }), (error) => error.response.status === 404);
  return done.downloadedPaths[0];
}

const style = { prompt: "A dog" };
const picture = await finish(v1.imageProjects, await v1.aiImageGenerator.create({ imageCount: 1, orientation: "landscape", style }));
await finish(v1.videoProjects, await v1.textToVideo.create({ endSeconds: 5, orientation: "landscape", style }));
const voice = { ...style, voiceName: "Morgan Freeman" };
await finish(v1.audioProjects, await v1.aiVoiceGenerator.create({ style: voice }));

// With an upload of a local file.
const assets = { sourceFilePath: picture, targetFilePath: picture };
const swapped = await v1.faceSwapPhoto.generate({ assets }, downloads);
assert.equal(swapped.status, "complete");
console.log("done");
