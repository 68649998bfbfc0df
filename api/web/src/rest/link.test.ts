import { describe, expect, it } from 'vitest';

import { linkTo, meetingIdIn, routeOf } from './link';

describe('meetingIdIn', () => {
  it.each([
    ['meeting_0193abc', 'meeting_0193abc'],
    ['  meeting_0193abc ', 'meeting_0193abc'],
    ['http://127.0.0.1:4500/m/meeting_0193abc', 'meeting_0193abc'],
    ['meet.example.org/m/meeting_0193abc?x=1#y', 'meeting_0193abc'],
  ])('finds the id in %s', (text, id) => expect(meetingIdIn(text)).toBe(id));

  it.each(['', 'hello world', 'https://example.org/', 'https://example.org/m/a b'])('finds none in %j', (text) =>
    expect(meetingIdIn(text)).toBeUndefined(),
  );
});

it('knows its pages', () => {
  expect(routeOf('/')).toEqual({ page: 'landing' });
  expect(routeOf('/m/meeting_1')).toEqual({ page: 'meeting', meeting: 'meeting_1' });
  expect(routeOf('/m/meeting_1/')).toEqual({ page: 'meeting', meeting: 'meeting_1' });
  expect(routeOf('/m/%2e%2e')).toEqual({ page: 'unknown' });
  expect(routeOf('/x')).toEqual({ page: 'unknown' });
  expect(linkTo('https://a.example', 'meeting_1')).toBe('https://a.example/m/meeting_1');
});
