// Encodes batches of lines of token ids with the exported encoder, in Node or in headless Chromium:
//
//   node encode.mjs node|chromium minilm.json minilm.safetensors batches.json
//
// batches.json is [[[ids of a line], ...], ...]; printed is [[numbers of an embedding], ...], in order.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { page } from '../../../web/chromium.mjs';
import { dawn } from '../../../web/dawn.mjs';
import * as runner from '../../../web/runner.js';
import { encoder } from './encode.js';

const [where, plan, weights, batches] = process.argv.slice(2);

async function inNode() {
  const encode = await encoder(runner, (await dawn()).gpu, await readFile(plan, 'utf8'), await readFile(weights));
  const rows = [];
  for (const batch of JSON.parse(await readFile(batches, 'utf8'))) rows.push(...await encode(batch));
  return JSON.stringify(rows.map((row) => [...row]));
}

async function inChromium() {
  const here = (path) => fileURLToPath(new URL(path, import.meta.url));
  const modules = { 'runner.js': here('../../../web/runner.js'), 'encode.js': here('encode.js') };
  const files = { plan, weights, batches, ...modules };
  const { next, close } = await page(files, `
    import * as runner from './runner.js';
    import { encoder } from './encode.js';
    const [plan, weights, batches] = await Promise.all(['plan', 'weights', 'batches'].map((name) => fetch(name)));
    const encode = await encoder(runner, navigator.gpu, await plan.text(), await weights.arrayBuffer());
    const rows = [];
    for (const batch of await batches.json()) rows.push(...await encode(batch));
    exchange(JSON.stringify(rows.map((row) => [...row])));
  `);
  try {
    return (await next()).toString();
  } finally {
    await close();
  }
}

const rows = await { node: inNode, chromium: inChromium }[where]();
// Dawn's own threads keep Node alive.
process.stdout.write(rows, () => process.exit(0));
