// What `tachylite check --runner node|chromium` starts: plans from standard input, buffers to standard
// output, as check.js says. Each message on standard input has its length before it, a u32; on
// standard output there is a mark before that, since drivers chatter there too. Ends with its input.

import { writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { encode, open } from './check.js';
import { page } from './chromium.mjs';
import { dawn } from './dawn.mjs';

const MARK = Buffer.from('\0tlite\0\n');

/// Calls back with every message from standard input, and at its end.
function listen(heard, ended) {
  let pieces = [];
  let have = 0;
  process.stdin.on('data', (piece) => {
    pieces.push(piece);
    have += piece.length;
    while (have >= 4) {
      if (pieces[0].length < 4) pieces = [Buffer.concat(pieces)];
      const whole = 4 + pieces[0].readUInt32LE(0);
      if (have < whole) break;
      const all = Buffer.concat(pieces);
      heard(new Uint8Array(all.buffer, all.byteOffset + 4, whole - 4));
      pieces = [all.subarray(whole)];
      have -= whole;
    }
  });
  process.stdin.on('end', ended);
}

function say(message) {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(message.length);
  for (const part of [MARK, head, message]) {
    for (let at = 0; at < part.length;) {
      try {
        at += writeSync(1, part, at);
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
      }
    }
  }
}

/// Dawn in this process.
async function inNode() {
  const { gpu, driver } = await dawn();
  const { hello, answer } = await open(gpu, driver);
  return { hello, answer, close: () => {} };
}

/// A page of a browser.
async function inChromium() {
  const files = ['runner.js', 'check.js'].map((name) => [name, fileURLToPath(new URL(name, import.meta.url))]);
  const { next, close } = await page(Object.fromEntries(files), `
    import { open } from './check.js';
    const { hello, answer } = await open(navigator.gpu, navigator.userAgent.match(/Chrom\\S*/)[0]);
    for (let message = await exchange(hello);; message = await exchange(await answer(message)));
  `);
  return { hello: await next(), answer: next, close };
}

// Dawn's own threads keep Node alive, hence the explicit exit.
async function quit(close, error) {
  await close();
  if (error) {
    process.stderr.write(`${error.message}\n`);
    say(encode({ refused: error.message }));
  }
  process.exit(error ? 1 : 0);
}

try {
  const { hello, answer, close } = await { node: inNode, chromium: inChromium }[process.argv[2]]();
  say(hello);
  // The checker waits for each answer, but may go away before it comes.
  listen((message) => answer(message).then(say, (error) => quit(close, error)), () => quit(close));
} catch (error) {
  quit(() => {}, error);
}
