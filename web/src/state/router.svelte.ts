// The address that is open, and the browser's history of them.

import { routeOf, type Route } from '../lib/route';

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
