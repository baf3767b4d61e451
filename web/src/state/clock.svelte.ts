// The time that pages show, by the hub's clock, once a second. It stands still while nobody looks.

import { hubNow } from '../api/client';

class Clock {
  now = $state(hubNow());

  constructor() {
    setInterval(() => document.visibilityState === 'visible' && this.tick(), 1000);
    document.addEventListener('visibilitychange', () => this.tick());
  }

  tick(): void {
    this.now = hubNow();
  }
}

export const clock = new Clock();
