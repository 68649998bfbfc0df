// Whose packets a frame came in: the node names the participant in each packet's CSRC (RFC 3550 §5.1).

/** A participant's CSRC: the last 32 bits of their id. */
export function csrc(participant: string): number {
  return Number.parseInt(participant.slice(-8), 16);
}

/** Who of `participants` has this CSRC. */
export function contributor(source: number, participants: Iterable<string>): string | undefined {
  for (const participant of participants) {
    if (csrc(participant) === source) return participant;
  }
  return undefined;
}
