import { expect, it } from 'vitest';

import { ApiError } from './api';
import { forPeople } from './words';

it('speaks to people of what they know, and passes on what it has no better words for', () => {
  const said = new ApiError(401, 'AUTHENTICATION_REQUIRED', 'a user token is needed: send `Authorization`');
  expect(forPeople(said)).toBe('This meeting is not open to guests.');
  expect(forPeople(new ApiError(0, 'UNREACHABLE', 'The server can’t be reached.'))).toBe('The server can’t be reached.');
  expect(forPeople(new Error('lost'))).toBe('lost');
});
