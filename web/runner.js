// Runs a plan that Tachylite exported on any object that is like `navigator.gpu`: browsers, Dawn in Node, Deno.
// No dependencies, and no global names of WebGPU either. README.md shows how; the format is plan.schema.json.

const FORMAT = 'tachylite-plan';
const VERSION = 2;

// Flags of GPUBufferUsage, GPUMapMode and GPUShaderStage (WebGPU, "Buffer Usages" and following).
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, UNIFORM = 64, STORAGE = 128, COMPUTE = 4;

/// Extensions that a text enables, with the feature of the device; the others are required.
const ENABLED = { f16: 'shader-f16', subgroups: 'subgroups' };

/// Types of tensors as arrays; f16 as bits.
const ARRAYS = {
  f32: Float32Array, f16: Uint16Array, u32: Uint32Array, i32: Int32Array, i8: Int8Array, u8: Uint8Array,
};

/// Pipelines that are kept for one device, by text.
const KEPT_PIPELINES = 256;
const pipelines = new WeakMap();

/// What goes wrong, in one sentence. `kind` is `plan` or `argument` (the caller's), `limit`,
/// `out-of-memory`, `validation` (the device refuses) or `lost`.
export class RunnerError extends Error {
  constructor(kind, message) {
    super(message);
    this.name = 'RunnerError';
    this.kind = kind;
  }
}

const fail = (kind, message) => { throw new RunnerError(kind, message); };

/// What a file says, given as text or as the object that it parses to.
function read(file) {
  const parsed = typeof file === 'string' ? JSON.parse(file) : file;
  if (parsed?.format !== FORMAT) fail('plan', `plan: the field "format" is not "${FORMAT}"`);
  if (parsed.version !== VERSION) {
    fail('plan', `plan: version ${parsed.version} cannot be run here, only version ${VERSION}`);
  }
  return parsed;
}

/// The limits that a device must be requested with: `requestDevice({ requiredLimits })`.
export function requiredLimits(file) {
  return { ...read(file).requires.limits };
}

/// The features that a device must be requested with: `requestDevice({ requiredFeatures })`.
export function requiredFeatures(file) {
  return [...read(file).requires.features];
}

/// The tensors of a safetensors file, as bytes by name.
export function readSafetensors(buffer) {
  const bytes = new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
  const size = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (8 + size > bytes.length) fail('plan', `weights: the header has ${size} bytes, the file ${bytes.length}`);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  const out = {};
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [from, to] = tensor.data_offsets;
    if (to > bytes.length - 8 - size) fail('plan', `weights: "${name}" ends behind the end of the file`);
    out[name] = bytes.subarray(8 + size + from, 8 + size + to);
  }
  return out;
}

/// Loads a plan on a device. `weights` is the safetensors file that lies beside the plan, or its
/// tensors by name; null leaves the buffers of weights as they are, for whoever fills them. Options:
/// `language`, a set like `navigator.gpu.wgslLanguageFeatures`, by which it is known whether the target
/// has the features of WGSL that the plan needs; `guardBytes`, by which every buffer is longer than the
/// plan says.
export async function load(device, file, weights, { language, guardBytes = 0 } = {}) {
  const { plan, requires } = read(file);
  check(device, requires, language);
  const ready = await Promise.all(plan.kernels.map((kernel) => pipeline(device, kernel, language)));
  const executable = await scoped(device, () => new Executable(device, plan, ready, guardBytes));
  if (weights !== null) {
    const tensors = weights?.byteLength === undefined ? weights ?? {} : readSafetensors(weights);
    await scoped(device, () => executable.fillWeights(tensors));
  }
  return executable;
}

function check(device, requires, language) {
  for (const [name, needed] of Object.entries(requires.limits)) {
    if (device.limits[name] < needed) {
      fail('limit', `the plan needs ${name} = ${needed}, but the device grants ${device.limits[name]}`);
    }
  }
  for (const feature of requires.features) {
    if (!device.features.has(feature)) fail('limit', `the plan needs the feature ${feature} of the device`);
  }
  for (const name of requires.language) {
    if (language && !language.has(name)) fail('limit', `the plan needs the feature ${name} of WGSL`);
  }
}

/// Calls back between error scopes, and throws what they caught.
async function scoped(device, make) {
  device.pushErrorScope('out-of-memory');
  device.pushErrorScope('validation');
  let made, thrown;
  try {
    made = make();
  } catch (error) {
    thrown = error;
  }
  const [validation, memory] = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
  if (thrown) throw thrown;
  if (memory) fail('out-of-memory', `the device is out of memory: ${memory.message}`);
  if (validation) fail('validation', `WebGPU refused a call: ${validation.message}`);
  return made;
}

/// A kernel's pipeline with the layout of its group 0; made once for each text.
function pipeline(device, kernel, language) {
  if (!pipelines.has(device)) pipelines.set(device, new Map());
  const known = pipelines.get(device);
  // Moved to the end, so that those first out are those longest unused.
  const made = known.get(kernel.wgsl) ?? makePipeline(device, kernel, language);
  known.delete(kernel.wgsl);
  known.set(kernel.wgsl, made);
  if (known.size > KEPT_PIPELINES) known.delete(known.keys().next().value);
  made.catch(() => known.delete(kernel.wgsl));
  return made;
}

/// The lines that a target wants to see before it knows an extension, all in one, so that the lines of
/// the text keep their numbers.
function directives(extensions, language) {
  const enable = extensions.filter((name) => name in ENABLED).map((name) => `enable ${name}; `);
  const others = extensions.filter((name) => !(name in ENABLED) && language?.has(name));
  return enable.concat(others.map((name) => `requires ${name}; `)).join('');
}

async function makePipeline(device, kernel, language) {
  const label = kernel.name;
  const entry = (binding, type) => {
    return { binding, visibility: COMPUTE, buffer: { type, hasDynamicOffset: type === 'uniform' } };
  };
  const storage = { read: 'read-only-storage', write: 'storage' };
  const entries = kernel.bindings.map(({ access }, i) => entry(i, storage[access]));
  const code = directives(kernel.extensions, language) + kernel.wgsl;
  const { module, tensors, params, layout } = await scoped(device, () => {
    const tensors = device.createBindGroupLayout({ label, entries });
    const params = device.createBindGroupLayout({ label: 'params', entries: [entry(0, 'uniform')] });
    const bindGroupLayouts = kernel.params.length > 0 ? [tensors, params] : [tensors];
    const layout = device.createPipelineLayout({ label, bindGroupLayouts });
    return { module: device.createShaderModule({ label, code }), tensors, params, layout };
  }).catch(async (error) => {
    const module = device.createShaderModule({ label, code });
    throw await blame(kernel, module, error);
  });
  const compute = { module, entryPoint: 'main' };
  const ready = await device
    .createComputePipelineAsync({ label, layout, compute })
    .catch((error) => fail('validation', `kernel ${label}: ${error.message}`));
  return { pipeline: ready, tensors, params };
}

/// An error that names the line of the shader's file, if the compiler names one.
async function blame(kernel, module, error) {
  const { messages } = await module.getCompilationInfo();
  const first = messages.find((m) => m.type === 'error');
  if (!first) return error;
  const [file, line] = kernel.lines[first.lineNum - 1] ?? ['its text', first.lineNum];
  return new RunnerError('validation', `kernel ${kernel.name} at ${file}:${line}: ${first.message}`);
}

// Sizes, as `src/dim.rs` works them out.

function dim({ factor, vars }, call) {
  return vars.reduce((product, v) => product * call[v], factor);
}

function expr(e, call) {
  if (e.dim) return dim(e.dim, call);
  if (e.mul) return e.mul.reduce((product, part) => product * expr(part, call), 1);
  if (e.ceil_div) return Math.ceil(expr(e.ceil_div[0], call) / e.ceil_div[1]);
  return fail('plan', `plan: an expression is ${JSON.stringify(e)}, which is not known here`);
}

/// n workgroups over two axes; the kernel folds them back.
function fold(n, limit) {
  const x = Math.min(n, limit);
  const y = n === 0 ? 1 : Math.ceil(n / x);
  if (y > limit) fail('limit', `${n} workgroups are more than ${limit} x ${limit}`);
  return [x, y, 1];
}

/// Visits every row of a tensor with where it starts in a tight array, where it starts in the buffer,
/// and its length, in elements.
function forEachRow(port, call, visit) {
  const shape = port.shape.map((d) => dim(d, call));
  if (shape.includes(0)) return;
  const strides = port.layout.strides.map((d) => dim(d, call));
  const width = shape.length > 0 ? shape[shape.length - 1] : 1;
  const index = shape.slice(0, -1).fill(0);
  const rows = shape.slice(0, -1).reduce((product, n) => product * n, 1);
  for (let row = 0; row < rows; row += 1) {
    visit(row * width, port.layout.offset + index.reduce((at, i, axis) => at + i * strides[axis], 0), width);
    for (let axis = index.length - 1; axis >= 0; axis -= 1) {
      index[axis] += 1;
      if (index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
}

/// The bytes of its buffer that a tensor takes in one call; a multiple of 16.
function bytesIn(port, call) {
  let end = 0;
  forEachRow(port, call, (_, start, width) => { end = Math.max(end, start + width); });
  return Math.ceil((end * ARRAYS[port.dtype].BYTES_PER_ELEMENT) / 16) * 16;
}

/// A plan loaded on a device. One call at a time.
export class Executable {
  constructor(device, plan, ready, guardBytes) {
    this.device = device;
    this.plan = plan;
    this.ready = ready;
    this.guardBytes = guardBytes;
    const usage = STORAGE | COPY_SRC | COPY_DST;
    this.buffers = plan.buffers.map((_, i) => device.createBuffer({ size: this.bufferBytes(i), usage }));
    const align = device.limits.minUniformBufferOffsetAlignment;
    const widest = Math.max(16, ...plan.kernels.map((k) => k.params.length * 4));
    this.stride = Math.ceil(widest / align) * align;
    this.staged = new DataView(new ArrayBuffer(Math.max(1, plan.steps.length) * this.stride));
    this.params = device.createBuffer({ size: this.staged.byteLength, usage: UNIFORM | COPY_DST });
    this.groups = plan.steps.map((step) => this.group(step));
  }

  /// The bind groups of a step: its tensors, and its parameters if it has any.
  group(step) {
    const { tensors, params } = this.ready[step.kernel];
    const entry = (buffer, binding, size) => ({ binding, resource: { buffer, size } });
    const entries = step.bindings.map((b, i) => entry(this.buffers[b.buffer], i));
    const groups = [this.device.createBindGroup({ layout: tensors, entries })];
    if (step.params.length > 0) {
      const entries = [entry(this.params, 0, this.stride)];
      groups.push(this.device.createBindGroup({ layout: params, entries }));
    }
    return groups;
  }

  /// Writes the weights: the bytes of each buffer, as `w0`, `w1` and so on.
  fillWeights(tensors) {
    this.plan.buffers.forEach((buffer, i) => {
      const weight = buffer.role.weight;
      if (weight === undefined) return;
      const bytes = tensors[`w${weight}`];
      if (!bytes) fail('argument', `weights: there is no tensor "w${weight}"`);
      if (bytes.byteLength !== buffer.bytes) {
        const needed = `but the plan needs ${buffer.bytes}`;
        fail('argument', `weights: "w${weight}" has ${bytes.byteLength} bytes, ${needed}`);
      }
      this.writeBuffer(i, bytes);
    });
  }

  /// The scalars of one call in the plan's order, from an object by name.
  callOf(values = {}) {
    const { scalars } = this.plan;
    const unknown = Object.keys(values).find((name) => !scalars.some((s) => s.name === name));
    if (unknown !== undefined) fail('argument', `call: there is no scalar "${unknown}"`);
    return scalars.map(({ name, kind }) => {
      const value = values[name];
      if (typeof value !== 'number') fail('argument', `call: scalar "${name}" was not given`);
      const max = kind.dim?.max;
      if (max !== undefined && !(Number.isInteger(value) && value >= 0 && value <= max)) {
        fail('argument', `call: dim "${name}" = ${value}, but it must be a whole number from 0 to ${max}`);
      }
      return value;
    });
  }

  /// Runs one call: inputs by name, as typed arrays whose rows are tight (f16 as bits in a
  /// Uint16Array), and the call's scalars by name. Gives the outputs by name: { dtype, shape, data }.
  async run(inputs, values) {
    const { device, plan } = this;
    const call = this.callOf(values);
    const unknown = Object.keys(inputs).find((name) => !plan.inputs.some((p) => p.name === name));
    if (unknown !== undefined) fail('argument', `run: there is no input "${unknown}"`);
    const packed = plan.inputs.map((port) => [port.buffer, this.pack(port, call, inputs[port.name])]);
    const reads = plan.outputs.map((port) => [port.buffer, bytesIn(port, call)]);
    const { reading } = await scoped(device, () => {
      packed.forEach(([buffer, bytes]) => this.writeBuffer(buffer, bytes));
      this.dispatch(call);
      const reading = this.readBuffers(reads);
      reading.catch(() => {}); // told below, or what the scopes caught is
      return { reading };
    });
    const bytes = await reading;
    return Object.fromEntries(plan.outputs.map((port, i) => [port.name, this.unpack(port, call, bytes[i])]));
  }

  /// An input as its buffer holds it: rows padded with zeros.
  pack(port, call, data) {
    const { name, dtype, below } = port;
    const shape = port.shape.map((d) => dim(d, call));
    const count = shape.reduce((product, n) => product * n, 1);
    const Kind = ARRAYS[dtype];
    if (data === undefined) fail('argument', `run: input "${name}" was not given`);
    const half = dtype === 'f16' && data.constructor.name === 'Float16Array';
    const tight = half ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
    if (!(tight instanceof Kind)) fail('argument', `input "${name}" must be a ${Kind.name} of ${dtype}`);
    if (tight.length !== count) {
      fail('argument', `input "${name}" has ${tight.length} elements, but [${shape}] has ${count}`);
    }
    const wrong = below === null || dtype !== 'u32' ? -1 : tight.findIndex((v) => v >= below);
    if (wrong >= 0) {
      const table = `but the table it points into has ${below} rows`;
      fail('argument', `input "${name}": element ${wrong} is ${tight[wrong]}, ${table}`);
    }
    const out = new Kind(bytesIn(port, call) / Kind.BYTES_PER_ELEMENT);
    forEachRow(port, call, (from, to, width) => out.set(tight.subarray(from, from + width), to));
    return out;
  }

  unpack(port, call, bytes) {
    const shape = port.shape.map((d) => dim(d, call));
    const Kind = ARRAYS[port.dtype];
    const padded = new Kind(bytes.buffer, bytes.byteOffset, bytes.byteLength / Kind.BYTES_PER_ELEMENT);
    const data = new Kind(shape.reduce((product, n) => product * n, 1));
    forEachRow(port, call, (to, from, width) => data.set(padded.subarray(from, from + width), to));
    return { dtype: port.dtype, shape, data };
  }

  /// How long a buffer is, by its place in the plan, guard bytes included.
  bufferBytes(buffer) {
    return Math.max(this.plan.buffers[buffer].bytes, 16) + this.guardBytes;
  }

  /// Writes a buffer from its start; the bytes are a multiple of 4.
  writeBuffer(buffer, bytes) {
    if (bytes.byteLength > 0) this.device.queue.writeBuffer(this.buffers[buffer], 0, bytes);
  }

  /// Submits one call on the buffers as they are. `call` is what callOf gave.
  dispatch(call) {
    const { device, plan, stride, staged } = this;
    const grids = plan.steps.map((step, i) => {
      step.params.forEach((param, j) => this.writeParam(param, call, i * stride + j * 4));
      return fold(expr(step.workgroups, call), device.limits.maxComputeWorkgroupsPerDimension);
    });
    device.queue.writeBuffer(this.params, 0, staged.buffer);
    for (const { start, end } of plan.segments) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let i = start; i < end; i += 1) {
        if (grids[i][0] === 0) continue;
        pass.setPipeline(this.ready[plan.steps[i].kernel].pipeline);
        pass.setBindGroup(0, this.groups[i][0]);
        if (this.groups[i][1]) pass.setBindGroup(1, this.groups[i][1], [i * stride]);
        pass.dispatchWorkgroups(...grids[i]);
      }
      pass.end();
      device.queue.submit([encoder.finish()]);
    }
  }

  writeParam(param, call, at) {
    const floats = { inf: Infinity, '-inf': -Infinity, nan: NaN };
    if (param.u32) this.staged.setUint32(at, Math.min(expr(param.u32, call), 0xffffffff), true);
    else if (param.f32 !== undefined) this.staged.setFloat32(at, floats[param.f32] ?? param.f32, true);
    else if (param.scalar !== undefined) this.staged.setFloat32(at, call[param.scalar], true);
    else fail('plan', `plan: a parameter is ${JSON.stringify(param)}, which is not known here`);
  }

  /// The first bytes of buffers, after everything submitted so far: [[buffer, bytes], ...].
  async readBuffers(reads) {
    const total = reads.reduce((sum, [, bytes]) => sum + bytes, 0);
    const staging = this.device.createBuffer({ size: Math.max(total, 16), usage: MAP_READ | COPY_DST });
    const encoder = this.device.createCommandEncoder();
    let at = 0;
    for (const [buffer, bytes] of reads) {
      if (bytes > 0) encoder.copyBufferToBuffer(this.buffers[buffer], 0, staging, at, bytes);
      at += bytes;
    }
    this.device.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(MAP_READ);
    } catch (error) {
      fail('lost', `the device did not give its buffers back: ${error.message}`);
    }
    const copy = staging.getMappedRange().slice(0);
    staging.destroy();
    at = 0;
    return reads.map(([, bytes]) => new Uint8Array(copy, (at += bytes) - bytes, bytes));
  }

  /// Frees the buffers.
  destroy() {
    this.buffers.concat(this.params).forEach((buffer) => buffer.destroy());
  }
}
