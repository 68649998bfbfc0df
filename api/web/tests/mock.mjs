// A stand-in for a node, for development and `npm run look` only: serves the built client under the strictest CSP it must
// live with, answers the few REST calls, and speaks signalling. Media comes from a browser page (`sfu.js`) in which a
// plain RTCPeerConnection answers the client's offer and fills its slots with moving pictures and a tone.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { WebSocketServer } from 'ws';

const here = fileURLToPath(new URL('.', import.meta.url));
const dist = join(here, '..', 'dist');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const CSP = "default-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'";

export class Mock {
  /** Everyone but the client itself. */
  others = [];
  /** Slot announcements made when a client has its answer: `(slots) => announcements`. */
  announce = () => [];
  password = undefined;
  clients = [];
  requests = [];
  #sfu = undefined;
  #answers = new Map();

  async listen() {
    this.server = createServer((request, response) => void this.#http(request, response));
    this.sockets = new WebSocketServer({ server: this.server });
    this.sockets.on('connection', (socket, request) => (request.url === '/sfu' ? this.#media(socket) : this.#client(socket)));
    await new Promise((done) => this.server.listen(0, '127.0.0.1', done));
    this.origin = `http://127.0.0.1:${this.server.address().port}`;
  }

  close() {
    for (const socket of this.sockets.clients) socket.terminate();
    this.server.close();
  }

  push(body) {
    for (const client of this.clients) client.socket.send(JSON.stringify({ v: 1, seq: ++client.seq, ...body }));
  }

  drop() {
    for (const { socket } of this.clients.splice(0)) socket.terminate();
  }

  /** Changes what the media page paints into a slot. */
  paint(mid, colour) {
    this.#sfu?.send(JSON.stringify({ paint: mid, colour }));
  }

  async #http(request, response) {
    const path = new URL(request.url, 'http://mock').pathname;
    if (path.startsWith('/api/')) return this.#rest(request, response, path);
    if (path === '/sfu') return void response.setHeader('content-type', 'text/html').end('<script src="/sfu.js"></script>');
    const file = path === '/sfu.js' ? join(here, 'sfu.js') : join(dist, normalize(extname(path) === '' ? '/index.html' : path));
    try {
      const body = await readFile(file);
      response.writeHead(200, { 'content-type': TYPES[extname(file)], 'content-security-policy': CSP }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  }

  async #rest(request, response, path) {
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text || '{}');
    this.requests.push({ path, body });
    const reply = (status, data) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data));
    if (path === '/api/auth/guest') return reply(200, { success: true, data: { token: 'user-token' } });
    if (path === '/api/meeting') return reply(201, { success: true, data: { id: 'meeting_mock' } });
    if (path.endsWith('/start')) return reply(200, { success: true, data: { status: 'live' } });
    if (this.password !== undefined && body.meeting_password !== this.password) {
      const message = body.meeting_password === undefined ? 'meeting_password: is missing' : 'The password is wrong.';
      return reply(401, { success: false, code: 'INVALID_MEETING_PASSWORD', message });
    }
    const grant = { access_token: 'room-token', participant_id: 'participant_me', webrtc_config: { ice_servers: [] }, meeting_info: { name: 'Weekly' } };
    reply(200, { success: true, data: grant });
    this.name = body.participant_name;
  }

  #client(socket) {
    const client = { socket, seq: 0, tracks: [] };
    this.clients.push(client);
    socket.on('message', (data) => void this.#request(client, JSON.parse(data.toString())));
    socket.on('close', () => (this.clients = this.clients.filter((one) => one !== client)));
  }

  async #request(client, { id, type, ...body }) {
    this.requests.push({ type, body });
    const reply = (answer) => client.socket.send(JSON.stringify({ v: 1, re: id, ...answer }));
    if (type === 'join') return reply(this.#joined());
    if (type === 'offer') {
      reply({ type: 'answer', sdp: await this.#answer(body) });
      return this.push({ type: 'slots', slots: this.announce(body.slots) });
    }
    reply({ type: 'ok' });
    if (type === 'publish') this.push({ type: 'roster', revision: Date.now(), changes: [{ change: 'set', member: this.#me(body.tracks) }] });
  }

  #me(tracks) {
    return { id: 'participant_me', name: this.name ?? 'Me', role: 'attendee', tracks };
  }

  #joined() {
    return {
      type: 'joined',
      participant: 'participant_me',
      session: 'session_1',
      node: 1,
      meeting: { id: 'meeting_mock', name: 'Weekly design review' },
      roster: [...this.others, this.#me([])],
      revision: 1,
      ice_servers: [],
      pool: { audio: 3, video: 4 },
    };
  }

  #media(socket) {
    this.#sfu = socket;
    socket.on('message', (data) => {
      const { answer, id } = JSON.parse(data.toString());
      this.#answers.get(id)?.(answer);
      this.#answers.delete(id);
    });
  }

  #answer(offer) {
    const id = this.requests.length;
    this.#sfu.send(JSON.stringify({ id, ...offer }));
    return new Promise((done) => this.#answers.set(id, done));
  }
}
