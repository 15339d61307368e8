// The far side of `tachylite check --runner`: loads exported plans, runs them on buffers that it is
// told how to fill, and sends back what the buffers hold. It judges nothing.
//
// A message is a header, JSON, and then blobs:  u32 length of the header | header | blobs
// The header's `blobs` has their lengths. All numbers are little-endian.
//
//   first, to the checker   { opened: {...} }  or  { refused: "why" }
//   load    { op, id, guard }  blob: the plan's file              →  {}
//   run     { op, id, fills: [[buffer, length] or [buffer, null, word]], reads: [buffer] }
//           blobs: the call's scalars as f64, then the fills' bytes  →  {}  blobs: the buffers read
//   both may have `drop`: [id], plans not needed any more
//   an answer may be { error: { kind, message } }; kinds are those of RunnerError

import { Executable, RunnerError, load } from './runner.js';

const LIMITS = [
  'maxStorageBuffersPerShaderStage', 'maxStorageBufferBindingSize', 'maxBufferSize',
  'maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup', 'maxComputeWorkgroupSizeX',
  'maxComputeWorkgroupsPerDimension', 'minUniformBufferOffsetAlignment',
];
const FEATURES = ['shader-f16', 'subgroups', 'timestamp-query'];

/// A message as bytes.
export function encode(header, blobs = []) {
  const text = new TextEncoder().encode(JSON.stringify({ ...header, blobs: blobs.map((b) => b.byteLength) }));
  const out = new Uint8Array(4 + text.length + blobs.reduce((sum, b) => sum + b.byteLength, 0));
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 4);
  let at = 4 + text.length;
  for (const blob of blobs) {
    out.set(blob, at);
    at += blob.byteLength;
  }
  return out;
}

/// The header and the blobs of a message.
export function decode(bytes) {
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  let at = 4 + size;
  return [header, header.blobs.map((length) => bytes.subarray(at, (at += length)))];
}

/// Opens the device of a `navigator.gpu`-like object; gives what handles messages, and the first of our
/// own.
export async function open(gpu, driver) {
  const adapter = await gpu?.requestAdapter();
  if (!adapter) return { hello: encode({ refused: 'there is no WebGPU adapter' }) };
  const requiredFeatures = FEATURES.filter((name) => adapter.features.has(name));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
  const state = { device, language: gpu.wgslLanguageFeatures, plans: new Map(), lost: null };
  device.lost.then((info) => { state.lost = info.message || info.reason; });
  return { hello: encode({ opened: about(adapter, device, driver) }), answer: (m) => answer(state, m) };
}

function about(adapter, device, driver) {
  const info = adapter.info ?? {};
  return {
    name: info.description || info.device || `${info.vendor} ${info.architecture}`.trim() || 'unnamed',
    driver,
    subgroups: [info.subgroupMinSize ?? 0, info.subgroupMaxSize ?? 0],
    features: [...device.features],
    limits: Object.fromEntries(LIMITS.map((name) => [name, device.limits[name]])),
  };
}

/// The answer to one message.
async function answer(state, message) {
  const [header, blobs] = decode(message);
  for (const id of header.drop ?? []) {
    state.plans.get(id)?.destroy();
    state.plans.delete(id);
  }
  try {
    if (header.op === 'load') {
      const file = new TextDecoder().decode(blobs[0]);
      const options = { language: state.language, guardBytes: header.guard };
      state.plans.set(header.id, await load(state.device, file, null, options));
      return encode({});
    }
    return encode({}, await run(state, header, blobs));
  } catch (error) {
    // Whoever lost a device is told all kinds of things.
    await new Promise((resolve) => { setTimeout(resolve, 0); });
    const kind = state.lost !== null ? 'lost' : error instanceof RunnerError ? error.kind : 'plan';
    return encode({ error: { kind, message: state.lost ?? error.message } });
  }
}

async function run(state, { id, fills, reads }, [scalars, ...bytes]) {
  const executable = state.plans.get(id);
  if (!(executable instanceof Executable)) throw new RunnerError('plan', `there is no plan ${id}`);
  const call = [...new Float64Array(scalars.slice().buffer)];
  state.device.pushErrorScope('validation');
  for (const [buffer, length, word] of fills) {
    const pattern = () => new Uint32Array(executable.bufferBytes(buffer) / 4).fill(word);
    executable.writeBuffer(buffer, length === null ? pattern() : bytes.shift());
  }
  executable.dispatch(call);
  const reading = executable.readBuffers(reads.map((buffer) => [buffer, executable.bufferBytes(buffer)]));
  reading.catch(() => {});
  const refused = await state.device.popErrorScope();
  if (refused) throw new RunnerError('validation', refused.message);
  return reading;
}
