// Prints what the client weighs, and fails when that is too much.
import { readFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { transform } from 'esbuild';

const LIMIT = 6 * 1024;

const source = await readFile(new URL('latchkey.js', import.meta.url), 'utf8');
const { code } = await transform(source, { minify: true, format: 'esm', target: 'es2022' });
const packed = gzipSync(code, { level: 9 }).length;
console.log(`latchkey.js: ${source.length} bytes, minified ${code.length}, gzipped ${packed}`);
if (packed >= LIMIT) {
  console.error(`more than ${LIMIT} bytes`);
  process.exitCode = 1;
}
