// Opens Dawn in Node, through the npm package `webgpu`: an object like `navigator.gpu`.
//
// The package is looked for in $TACHYLITE_TINT_NODE, in the node_modules of the current folder and the
// folders above it, and where scripts/drivers puts it.

import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

// The object that create() returns must outlive its devices.
const alive = [];

/// Dawn, with what it calls itself.
export async function dawn() {
  const drivers = process.env.TACHYLITE_DRIVERS ?? join(homedir(), '.cache', 'tachylite-drivers');
  const places = [process.env.TACHYLITE_TINT_NODE, process.cwd(), join(drivers, 'node')];
  for (const place of places.filter((p) => p !== undefined)) {
    const require = createRequire(join(place, 'index.js'));
    let path;
    try {
      path = require.resolve('webgpu');
    } catch {
      continue;
    }
    const webgpu = await import(pathToFileURL(path));
    const gpu = webgpu.create([]);
    alive.push(gpu);
    const { version } = require(join(path, '..', 'package.json'));
    return { gpu, driver: `webgpu ${version}, Node ${process.versions.node}` };
  }
  throw new Error('there is no npm package `webgpu` (npm install webgpu)');
}
