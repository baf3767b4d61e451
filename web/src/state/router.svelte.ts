// Addresses: /, /p/<project>, /p/<project>/members, /p/<project>/d/<device>?<range>. The hub answers every one of them
// with index.html.

export type Route =
  | { page: 'projects' }
  | { page: 'project'; project: string }
  | { page: 'members'; project: string }
  | { page: 'device'; project: string; device: string }
  | { page: 'unknown' };

export function routeOf(path: string): Route {
  let parts: string[];
  try {
    parts = path.split('/').filter((p) => p !== '').map(decodeURIComponent);
  } catch {
    return { page: 'unknown' }; // a % that is no escape
  }
  const [p, project, kind, device, more] = parts;
  if (p === undefined) return { page: 'projects' };
  if (p !== 'p' || project === undefined || more !== undefined) return { page: 'unknown' };
  if (kind === undefined) return { page: 'project', project };
  if (kind === 'members' && device === undefined) return { page: 'members', project };
  if (kind === 'd' && device !== undefined) return { page: 'device', project, device };
  return { page: 'unknown' };
}

export const link = {
  project: (project: string): string => `/p/${encodeURIComponent(project)}`,
  members: (project: string): string => `/p/${encodeURIComponent(project)}/members`,
  device: (project: string, device: string): string => `/p/${encodeURIComponent(project)}/d/${encodeURIComponent(device)}`,
};

class Router {
  path = $state(location.pathname);
  query = $state(location.search);
  /** How many zooms deep this page is: so many times "back" stays on it. */
  depth = $state(depthOf(history.state));
  route: Route = $derived(routeOf(this.path));

  constructor() {
    window.addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (e) => this.#click(e));
  }

  #read(): void {
    this.path = location.pathname;
    this.query = location.search;
    this.depth = depthOf(history.state);
  }

  /** Goes to another page, at its top. */
  go(url: string): void {
    history.pushState({ depth: 0 }, '', url);
    this.#read();
    window.scrollTo(0, 0);
  }

  /** Another query of the same page, one step deeper. */
  deeper(query: string): void {
    history.pushState({ depth: this.depth + 1 }, '', this.path + query);
    this.#read();
  }

  /** Another query in place of this one. */
  replace(query: string): void {
    history.replaceState({ depth: this.depth }, '', this.path + query);
    this.#read();
  }

  /** Follows plain clicks on links within the app; what the browser shall do itself, it does. */
  #click(e: MouseEvent): void {
    if (e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    const a = e.target instanceof Element ? e.target.closest('a') : null;
    if (!a || a.target !== '' || a.hasAttribute('download') || a.origin !== location.origin || a.pathname.startsWith('/api/') || a.hash !== '') return;
    e.preventDefault();
    if (a.href !== location.href) this.go(a.pathname + a.search);
  }
}

function depthOf(state: unknown): number {
  const d = typeof state === 'object' && state !== null ? (state as { depth?: unknown }).depth : 0;
  return typeof d === 'number' && d > 0 ? d : 0;
}

export const router = new Router();
