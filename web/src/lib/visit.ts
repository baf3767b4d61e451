// A visit to an identity provider: the browser leaves, and comes back to /sso/<provider> with an answer.

export type Purpose = 'log in' | 'link';
const purposeKey = 'visit-purpose';
const backKey = 'visit-back';

/** Leaves for a provider's page, and remembers in this tab why. */
export function visit(url: string, purpose: Purpose): void {
  sessionStorage.setItem(purposeKey, purpose);
  sessionStorage.setItem(backKey, purpose === 'link' ? '/security' : location.pathname + location.search);
  location.assign(url);
}

/** What the provider sent back, and why this tab had left. The address is cleared of it. */
export interface Return {
  purpose: Purpose;
  /** Where to go on, on this hub. */
  back: string;
  body: { provider: string; state: string; code?: string; iss?: string; error?: string };
}

export function returned(provider: string, query: string): Return {
  const q = new URLSearchParams(query);
  const body: Return['body'] = { provider, state: q.get('state') ?? '' };
  for (const name of ['code', 'iss', 'error'] as const) {
    const v = q.get(name);
    if (v !== null) body[name] = v;
  }
  const back = sessionStorage.getItem(backKey) ?? '/';
  const purpose = sessionStorage.getItem(purposeKey) === 'link' ? 'link' : 'log in';
  sessionStorage.removeItem(backKey);
  sessionStorage.removeItem(purposeKey);
  return { purpose, back: local(back), body };
}

/** A path of this hub, or its start: never another site, whatever somebody put where it was kept. */
export function local(path: string): string {
  return /^\/(?![/\\])[^\0-\x1f\\]*$/.test(path) && !path.startsWith('/sso/') ? path : '/';
}
