// What a person chose last time, kept in this browser.

export interface Prefs {
  name: string;
  camera: string;
  microphone: string;
  cameraOn: boolean;
  micOn: boolean;
}

const KEY = 'plenary.prefs';
const DEFAULTS: Prefs = { name: '', camera: '', microphone: '', cameraOn: true, micOn: true };

export function loadPrefs(): Prefs {
  try {
    return { ...DEFAULTS, ...(JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Prefs>) };
  } catch {
    return { ...DEFAULTS };
  }
}

export function savePrefs(change: Partial<Prefs>): void {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...loadPrefs(), ...change }));
  } catch {
    // A browser that keeps nothing: the next visit starts from the defaults.
  }
}

const TOKEN = 'plenary.user';

/** The user token lasts as long as the tab: whoever made a meeting here is its host when joining it. */
export function loadUserToken(): string | undefined {
  try {
    return sessionStorage.getItem(TOKEN) ?? undefined;
  } catch {
    return undefined;
  }
}

export function saveUserToken(token: string | undefined): void {
  try {
    if (token === undefined) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
  } catch {
    // As above: the host joins as a guest then.
  }
}
