// Compiles WGSL with Tint, the compiler of Chromium and Dawn: a second opinion beside naga's,
// stricter on uniformity. Needs no GPU: Dawn's null backend compiles and validates, runs nothing.
//
//   stdin   one JSON object a line: {"name": "...", "wgsl": "..."}
//   stdout  one JSON object a line, in the same order: {"name", "ok", "messages": [...]}
//           a message is {"stage", "type", "text", "line", "column"}; stage is "module" (the
//           text is not WGSL) or "pipeline" (it is, but breaks what a pipeline checks, a limit say);
//           "ok" is false if any message is an error, so warnings are shown and do not fail
//   exit    0 if everything was judged, whatever the verdicts; 2 if the npm package `webgpu` is
//           missing or gives no device; 3 if the input is not as above
//
// The package is looked for under $TACHYLITE_TINT_NODE, which scripts/drivers fills. A shader has
// one compute entry point. Limits are the null adapter's, which are WebGPU's defaults.

import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const drivers = process.env.TACHYLITE_DRIVERS ?? join(homedir(), '.cache', 'tachylite-drivers');
const packages = process.env.TACHYLITE_TINT_NODE ?? join(drivers, 'node');

function quit(code, reason) {
  process.stderr.write(`tint: ${reason}\n`);
  process.exit(code);
}

// The object that create() returns must outlive its devices, so it is kept here.
let gpu;

async function open() {
  const path = resolve(packages, 'node_modules', 'webgpu', 'index.js');
  let webgpu;
  try {
    webgpu = await import(pathToFileURL(path));
  } catch (error) {
    quit(2, `no npm package webgpu in ${packages}: ${error.message}; run scripts/drivers`);
  }
  gpu = webgpu.create(['backend=null']);
  const adapter = await gpu.requestAdapter();
  if (!adapter) quit(2, 'the null backend gives no adapter');
  const features = [...adapter.features];
  for (const feature of ['shader-f16', 'subgroups']) {
    if (!features.includes(feature)) quit(2, `the null adapter lacks ${feature}`);
  }
  const device = await adapter.requestDevice({ requiredFeatures: features });
  device.lost.then((info) => {
    if (info.reason !== 'destroyed') quit(2, `the null device was lost: ${info.message}`);
  });
  return device;
}

async function judge(device, { name, wgsl }) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ label: name, code: wgsl });
  const info = await module.getCompilationInfo();
  const moduleError = await device.popErrorScope();
  const messages = info.messages.map((m) => ({
    stage: 'module',
    type: m.type,
    text: m.message,
    line: m.lineNum,
    column: m.linePos,
  }));
  const failed = () => messages.some((m) => m.type === 'error');
  const add = (stage, text) => messages.push({ stage, type: 'error', text, line: 0, column: 0 });

  if (moduleError && !failed()) add('module', moduleError.message);
  if (!failed()) {
    device.pushErrorScope('validation');
    device.createComputePipeline({ label: name, layout: 'auto', compute: { module } });
    const pipelineError = await device.popErrorScope();
    if (pipelineError) add('pipeline', pipelineError.message);
  }
  return { name, ok: !failed(), messages };
}

const shaders = readFileSync(0, 'utf8')
  .split('\n')
  .map((text, index) => ({ text, number: index + 1 }))
  .filter(({ text }) => text.trim() !== '')
  .map(({ text, number }) => {
    let shader;
    try {
      shader = JSON.parse(text);
    } catch (error) {
      quit(3, `line ${number} is not JSON: ${error.message}`);
    }
    if (typeof shader?.name !== 'string' || typeof shader?.wgsl !== 'string') {
      quit(3, `line ${number} has no string "name" or no string "wgsl"`);
    }
    return shader;
  });

const device = await open();
const verdicts = [];
for (const shader of shaders) verdicts.push(JSON.stringify(await judge(device, shader)) + '\n');

// Dawn's own threads keep Node alive, hence the explicit exit, once the pipe has taken everything.
process.stdout.write(verdicts.join(''), () => process.exit(0));
