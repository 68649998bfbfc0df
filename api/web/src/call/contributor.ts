// Whose packets a frame came in: the node names the participant in each packet's CSRC (RFC 3550 §5.1).

/** The part of RTCRtpContributingSource that matters here. */
export interface Contribution {
  source: number;
  rtpTimestamp: number;
}

/** A participant's CSRC: the last 32 bits of their id. */
export function csrc(participant: string): number {
  return Number.parseInt(participant.slice(-8), 16);
}

/** Who of `participants` the frame with this timestamp is from; undefined when the browser does not know (yet). */
export function contributor(contributions: readonly Contribution[], rtpTimestamp: number | undefined, participants: Iterable<string>): string | undefined {
  const from = contributions.filter((contribution) => contribution.rtpTimestamp === rtpTimestamp);
  if (from.length !== 1) return undefined;
  for (const participant of participants) {
    if (csrc(participant) === from[0]?.source) return participant;
  }
  return undefined;
}
