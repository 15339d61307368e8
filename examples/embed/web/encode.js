// The exported encoder in JavaScript: lines of tokens in, embeddings out.
//
//   embed --model minilm --export minilm.json       writes minilm.json and minilm.safetensors

/// Opens a device for the plan, loads it, and gives a function from lines of token ids, at most 8 of 256,
/// to embeddings, one Float32Array of 384 for each. `runner` is the module web/runner.js.
export async function encoder(runner, gpu, plan, weights) {
  const adapter = await gpu?.requestAdapter();
  if (!adapter) throw new Error('there is no WebGPU adapter');
  const requiredLimits = runner.requiredLimits(plan);
  const requiredFeatures = runner.requiredFeatures(plan);
  const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
  const executable = await runner.load(device, plan, weights, { language: gpu.wgslLanguageFeatures });
  return async (lines) => {
    const [B, S] = [lines.length, Math.max(0, ...lines.map((line) => line.length))];
    const inputs = {
      ids: new Uint32Array(B * S),
      positions: new Uint32Array(B * S).map((_, i) => i % S),
      types: new Uint32Array(B * S),
      lengths: new Uint32Array(lines.map((line) => line.length)),
    };
    lines.forEach((line, i) => inputs.ids.set(line, i * S));
    const { embedding } = await executable.run(inputs, { B, S });
    const [, width] = embedding.shape;
    return lines.map((_, i) => embedding.data.subarray(i * width, (i + 1) * width));
  };
}
