// Who is logged in. The session itself is a cookie that scripts cannot read; this only asks the hub about it.

import { api, ask, onEnded, type Session, type User } from '../api/client';
import { ApiError, errorOf } from '../api/problem';
import { project } from './project.svelte';

type State =
  | { is: 'asking' }
  | { is: 'out'; note: string }
  | { is: 'in'; user: User; projects: Session['projects'] }
  | { is: 'failed'; error: ApiError };

class SessionState {
  state: State = $state.raw({ is: 'asking' });

  constructor() {
    onEnded(() => this.end('Your session has ended. Log in again to go on.'));
    // A page that comes back from the browser's back-forward memory may belong to somebody who has logged out.
    window.addEventListener('pageshow', (e) => e.persisted && void this.load());
  }

  async load(): Promise<void> {
    if (this.state.is === 'failed') this.state = { is: 'asking' };
    try {
      const s = await ask(api.GET('/api/v1/session'));
      this.state = { is: 'in', user: s.user, projects: s.projects };
    } catch (e) {
      const error = errorOf(e);
      if (error.code === 'unauthenticated') this.#clear('');
      else if (this.state.is !== 'in') this.state = { is: 'failed', error };
    }
  }

  async logIn(email: string, password: string): Promise<void> {
    await ask(api.POST('/api/v1/session', { body: { email, password } }));
    const s = await ask(api.GET('/api/v1/session'));
    this.state = { is: 'in', user: s.user, projects: s.projects };
  }

  async logOut(): Promise<void> {
    try {
      await ask(api.DELETE('/api/v1/session'));
    } catch (e) {
      if (errorOf(e).code !== 'unauthenticated') throw e;
    }
    this.#clear('You are logged out.');
  }

  /** The hub no longer knows who asks. */
  end(note: string): void {
    if (this.state.is === 'in') this.#clear(note);
  }

  #clear(note: string): void {
    project.close(); // nothing that was read stays in memory
    this.state = { is: 'out', note };
  }
}

export const session = new SessionState();
