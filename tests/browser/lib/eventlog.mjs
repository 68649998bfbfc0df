// Sender reports as Chromium received them, out of its WebRTC event log (`--webrtc-event-logging`).
//
// The log is a protobuf stream (libwebrtc, logging/rtc_event_log/rtc_event_log2.proto): field 4 of EventStream is a batch
// of received RTCP packets. Its first packet stands in field 2; the others, in field 102, as all their lengths (varints)
// and then all their bytes (encoder/blob_encoding.h).
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

const INCOMING_RTCP = 4;
const FIRST_PACKET = 2;
const PACKETS = 3;
const OTHER_PACKETS = 102;
/** RFC 3550 §12.1. */
const SENDER_REPORT = 200;

/** The sender reports in all logs of a folder, by SSRC: `{ ntp, rtp }` in milliseconds and RTP units, in order. */
export async function senderReports(folder) {
  const found = new Map();
  for (const file of await readdir(folder)) {
    for (const [field, batch] of fields(await readFile(join(folder, file)))) {
      if (field !== INCOMING_RTCP) continue;
      for (const packet of packets(batch)) collect(packet, found);
    }
  }
  return found;
}

/** How far the reports of one source are from a straight line of `rate` RTP units a second, at most, in milliseconds. */
export function drift(reports, rate) {
  const [first] = reports;
  const off = reports.map(({ ntp, rtp }) => (((rtp - first.rtp) | 0) * 1000) / rate - (ntp - first.ntp));
  return Math.max(...off) - Math.min(...off);
}

/** The fields of a message: numbers, or bytes. */
function* fields(bytes) {
  for (let at = 0; at < bytes.length; ) {
    let key, value;
    [key, at] = varint(bytes, at);
    [value, at] = varint(bytes, at);
    const kind = key & 7;
    // A log that is still being written may end anywhere.
    if (kind === 2 && at + value > bytes.length) return;
    if (kind === 0) yield [key >>> 3, value];
    else if (kind === 2) yield [key >>> 3, bytes.subarray(at, (at += value))];
    else throw new Error(`not an event log: wire type ${kind} at ${at}`);
  }
}

function* packets(batch) {
  const { [FIRST_PACKET]: first, [PACKETS]: count = 0, [OTHER_PACKETS]: others } = Object.fromEntries(fields(batch));
  if (first !== undefined) yield first;
  if (others === undefined) return;
  const lengths = [];
  let at = 0;
  for (let index = 0; index < count; index++) {
    let length;
    [length, at] = varint(others, at);
    lengths.push(length);
  }
  for (const length of lengths) yield others.subarray(at, (at += length));
}

/** Notes the sender reports of a compound packet (RFC 3550 §6.4.1). */
function collect(compound, found) {
  for (let at = 0; at + 4 <= compound.length; at += 4 * (compound.readUInt16BE(at + 2) + 1)) {
    if (compound[at + 1] !== SENDER_REPORT) continue;
    const ssrc = compound.readUInt32BE(at + 4);
    const ntp = compound.readUInt32BE(at + 8) * 1000 + (compound.readUInt32BE(at + 12) / 2 ** 32) * 1000;
    if (!found.has(ssrc)) found.set(ssrc, []);
    found.get(ssrc).push({ ntp, rtp: compound.readUInt32BE(at + 16) });
  }
}

/** A base-128 number at `at`, and where it ends. Numbers above 2^53 lose their lowest bits; none that matter are. */
function varint(bytes, at) {
  let value = 0;
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[at++];
    if (byte === undefined) return [value, bytes.length];
    value += (byte & 127) * shift;
    if (byte < 128) return [value, at];
  }
}
