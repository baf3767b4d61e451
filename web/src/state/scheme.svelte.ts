// Whether the system asks for dark pages, for what style sheets cannot reach.

class Scheme {
  dark = $state(false);

  constructor() {
    const query = matchMedia('(prefers-color-scheme: dark)');
    this.dark = query.matches;
    query.addEventListener('change', () => (this.dark = query.matches));
  }
}

export const scheme = new Scheme();
