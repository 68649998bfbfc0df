// Processes of Plenary under test: one development node, or a cluster made by scripts/cluster.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CLUSTER = fileURLToPath(new URL('../../../scripts/cluster', import.meta.url));
const BINARY = process.env.PLENARY_BIN;
const START_MS = 30_000;

const folder = (name) => mkdtemp(join(tmpdir(), `plenary-${process.pid}-${name}-`));

/** What a log must not hold: lines at ERROR, panics. */
export function errorLines(log) {
  return log.split('\n').filter((line) => line.startsWith("thread '") || line.split(/\s+/u).slice(0, 2).includes('ERROR'));
}

/** `plenary dev` on a free port. `url` is the ready meeting it printed last. */
export async function startDev() {
  const home = await folder('dev');
  const child = spawn(BINARY, ['dev', '--port', '0', '--data', home], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  child.stderr.on('data', (data) => (log += data));
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no URL in ${START_MS} ms:\n${log}`)), START_MS);
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      log += `${line}\n`;
      const [found] = /http:\/\/\S+\/m\/meeting_\w+/u.exec(line) ?? [];
      if (found === undefined) return;
      clearTimeout(late);
      resolve(found);
    });
    void ended.then((code) => reject(new Error(`plenary dev ended with ${code}:\n${log}`)));
  });
  return {
    url,
    origin: new URL(url).origin,
    pid: child.pid,
    log: () => log,
    /** Ends it as Ctrl-C does; it must end well and its log must hold no error. */
    async stop() {
      child.kill('SIGINT');
      const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
      const code = await ended;
      clearTimeout(late);
      await rm(home, { recursive: true, force: true });
      assert.deepEqual(errorLines(log), []);
      assert.equal(code, 0, `plenary dev ended with ${code}:\n${log}`);
    },
  };
}

/** `scripts/cluster up`: `nodes[i]` has the number, the origin and the URL of one ready meeting. */
export async function startCluster(count) {
  const home = await folder('cluster');
  const cluster = (...args) => run(CLUSTER, [...args, '--dir', home], { maxBuffer: 1 << 24 });
  const { stdout } = await cluster('up', '-n', String(count), '--bin', BINARY);
  const nodes = [...stdout.matchAll(/^node (\d+) .*?(http:\/\/\S+)$/gmu)].map(([, number, url]) => ({
    number: Number(number),
    url,
    origin: new URL(url).origin,
  }));
  assert.equal(nodes.length, count, stdout);
  const log = (number) => readFile(join(home, `node-${number}`, 'log'), 'utf8');
  return {
    nodes,
    log,
    async links() {
      return JSON.parse((await cluster('status', '--links')).stdout);
    },
    async stop() {
      const logs = await Promise.all(nodes.map(({ number }) => log(number)));
      await cluster('down');
      await rm(home, { recursive: true, force: true });
      assert.deepEqual(logs.flatMap(errorLines), []);
    },
  };
}
