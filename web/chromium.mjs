// Opens a page in headless Chromium and talks to it: the page asks for the next message by posting its
// answer to the last, so nothing is lost and nothing polls.

import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--enable-unsafe-webgpu', '--no-first-run',
  '--disable-background-networking', '--disable-component-update',
];
const NAMES = ['chromium', 'google-chrome', 'chromium-browser', 'chrome'];

/// A page that runs `script`, the text of a module, with `files` beside it, paths by name. The module calls
/// `exchange(answer)`, which resolves to the next message, bytes. Here `next(message)` sends one and
/// resolves to the answer; the first `next()` waits for the page. Browser: $TACHYLITE_CHROMIUM, or
/// what it is usually called; adapter: $TACHYLITE_CHROMIUM_ADAPTER, or SwiftShader.
export async function page(files, script) {
  const secret = randomUUID(); // no other page may answer
  const wire = { waiting: null };
  const expect = () => {
    wire.answer = new Promise((resolve, reject) => Object.assign(wire, { resolve, reject }));
    wire.answer.catch(() => {}); // whoever asks for the next is told
  };
  expect();
  const server = createServer((request, response) => serve(request, response, { secret, files, script, wire }));
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const url = `http://127.0.0.1:${server.address().port}/${secret}/`;
  const profile = await mkdtemp(join(tmpdir(), 'tachylite-chromium-'));
  const browser = await start([...FLAGS, `--user-data-dir=${profile}`, adapterFlag(), url]);
  const words = [];
  browser.stderr.on('data', (data) => { words.push(data); words.splice(0, words.length - 20); });
  browser.on('exit', (code, signal) => {
    const said = Buffer.concat(words).toString().trim().split('\n').pop();
    wire.reject(new Error(`the browser ended with ${signal ?? `exit code ${code}`}: ${said}`));
  });
  const next = (message) => {
    if (message) {
      expect();
      if (browser.exitCode !== null) wire.reject(new Error('the browser has ended'));
      wire.waiting.end(message);
    }
    return wire.answer;
  };
  const close = async () => {
    const gone = new Promise((resolve) => { browser.once('exit', resolve); });
    if (browser.exitCode === null && browser.kill('SIGKILL')) await gone;
    server.closeAllConnections();
    server.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  return { next, close };
}

function adapterFlag() {
  return `--use-webgpu-adapter=${process.env.TACHYLITE_CHROMIUM_ADAPTER ?? 'swiftshader'}`;
}

/// The first browser that there is.
async function start(flags) {
  const named = process.env.TACHYLITE_CHROMIUM;
  for (const name of named ? [named] : NAMES) {
    const browser = spawn(name, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
    const started = await new Promise((resolve) => {
      browser.once('spawn', () => resolve(true));
      browser.once('error', () => resolve(false));
    });
    if (started) return browser;
  }
  throw new Error(`there is no browser ${named ?? NAMES.join(', ')}; TACHYLITE_CHROMIUM may name one`);
}

async function serve(request, response, { secret, files, script, wire }) {
  const path = new URL(request.url, 'http://localhost').pathname.split('/').slice(1);
  const send = (type, text) => response.writeHead(200, { 'content-type': type }).end(text);
  if (path[0] !== secret || path.length !== 2) return response.writeHead(404).end();
  if (request.method === 'POST') {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    if (path[1] === 'failed') {
      response.end();
      return wire.reject(new Error(`the page failed: ${body}`));
    }
    wire.waiting = response;
    return wire.resolve(body);
  }
  if (path[1] === '') return send('text/html', '<!doctype html><script type="module" src="main.js"></script>');
  if (path[1] === 'main.js') return send('text/javascript', EXCHANGE + script);
  if (!Object.hasOwn(files, path[1])) return response.writeHead(404).end();
  const type = path[1].endsWith('.js') ? 'text/javascript' : 'application/octet-stream';
  return send(type, await readFile(files[path[1]]));
}

/// What every page begins with.
const EXCHANGE = `
const told = (error) => fetch('failed', { method: 'POST', body: String(error?.stack ?? error) });
addEventListener('error', (e) => told(e.error ?? e.message));
addEventListener('unhandledrejection', (e) => told(e.reason));
async function exchange(answer) {
  const response = await fetch('answer', { method: 'POST', body: answer });
  return new Uint8Array(await response.arrayBuffer());
}
`;
