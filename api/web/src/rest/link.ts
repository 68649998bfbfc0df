// Meeting ids and links, as people paste them.

const ID = /^[A-Za-z0-9_-]{3,128}$/u;

/** The meeting id in a link or a bare id; undefined when there is none. */
export function meetingIdIn(text: string): string | undefined {
  const trimmed = text.trim();
  if (ID.test(trimmed)) return trimmed;
  const match = /\/m\/([^/?#\s]+)/u.exec(trimmed);
  const id = match?.[1];
  return id !== undefined && ID.test(id) ? id : undefined;
}

export type Route = { page: 'landing' } | { page: 'meeting'; meeting: string } | { page: 'unknown' };

export function routeOf(path: string): Route {
  if (path === '/' || path === '') return { page: 'landing' };
  const match = /^\/m\/([^/]+)\/?$/u.exec(path);
  const meeting = match?.[1];
  return meeting !== undefined && ID.test(meeting) ? { page: 'meeting', meeting } : { page: 'unknown' };
}

export function linkTo(origin: string, meeting: string): string {
  return `${origin}/m/${meeting}`;
}
