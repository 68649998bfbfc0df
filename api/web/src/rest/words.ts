// What a refusal to join means to a person. What the server says itself is for whoever calls its interface.
import { ApiError } from './api';

const WORDS: Partial<Record<string, string>> = {
  AUTHENTICATION_REQUIRED: 'This meeting is not open to guests.',
  ACCESS_DENIED: 'You can’t join this meeting.',
  INVALID_MEETING_PASSWORD: 'That is not the password of this meeting.',
  MEETING_NOT_FOUND: 'There is no such meeting. Check the link.',
  MEETING_NOT_LIVE: 'This meeting has not begun yet. Try again when its host is there.',
  MEETING_ENDED: 'This meeting has ended.',
  MEETING_FULL: 'This meeting is full.',
  NO_QUORUM: 'Nobody can be let in right now. Try again in a moment.',
};

export function forPeople(error: unknown): string {
  const words = error instanceof ApiError ? WORDS[error.code] : undefined;
  return words ?? (error as Error).message;
}
