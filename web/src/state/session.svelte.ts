// Who is logged in. The session itself is a cookie that scripts cannot read; this only asks the hub about it.

import { api, ask, onEnded, type FactorNeed, type LogInAnswer, type Session, type User } from '../api/client';
import { ApiError, errorOf } from '../api/problem';
import { project } from './project.svelte';

type State =
  | { is: 'asking' }
  /** need: the password, or the provider, was right, and a second factor is asked for. */
  | { is: 'out'; note: string; need?: FactorNeed }
  /** missing: the installation wants a second factor, and until there is one nothing else is open. */
  | { is: 'in'; user: User; projects: Session['projects']; missing: boolean }
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
      this.#in(s);
    } catch (e) {
      const error = errorOf(e);
      if (error.code === 'unauthenticated') this.#clear('');
      else if (this.state.is !== 'in') this.state = { is: 'failed', error };
    }
  }

  async logIn(email: string, password: string): Promise<void> {
    await this.admit(await ask(api.POST('/api/v1/session', { body: { email, password } })));
  }

  /** Takes the answer to a log-in: a session, or the question for a second factor. */
  async admit(answer: LogInAnswer): Promise<void> {
    if (answer.factor) {
      this.state = { is: 'out', note: '', need: answer.factor };
      return;
    }
    this.#in(await ask(api.GET('/api/v1/session')));
  }

  /** Begins anew, from a log-in half done. */
  forgo(note = ''): void {
    if (this.state.is === 'out') this.state = { is: 'out', note };
  }

  get missing(): boolean {
    return this.state.is === 'in' && this.state.missing;
  }

  #in(s: Session): void {
    this.state = { is: 'in', user: s.user, projects: s.projects, missing: s.factor_missing };
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
