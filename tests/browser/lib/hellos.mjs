// Which DTLS ClientHello messages cross the loopback interface, read from the wire.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const SNIFFER = fileURLToPath(new URL('hellos.py', import.meta.url));

/** Begins to look; `stop()` gives [offset, length, whole length] of each ClientHello fragment, one a datagram. */
export async function watchHellos() {
  const child = spawn('python3', [SNIFFER], { stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (data) => (said += data));
  await once(child.stdout, 'data');
  const ended = once(child, 'exit');
  return {
    async stop() {
      child.stdin.end();
      await ended;
      return said.split('\n').slice(1, -1).map((line) => JSON.parse(line));
    },
  };
}
