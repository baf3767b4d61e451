// The open project: what the pages of it show, kept up to date by its live stream.

import { SvelteMap } from 'svelte/reactivity';
import { api, ask, hubNow, type Device, type Element, type Latest, type Location, type Project } from '../api/client';
import { pages } from '../api/pages';
import { openLive } from '../api/live';
import { errorOf, type ApiError } from '../api/problem';
import type { Sample } from '../lib/plot';
import { router } from './router.svelte';

/** Live samples are kept for so long, for a chart whose answer was on its way when they came. */
const keepRecent = 120_000;
const mostRecent = 20_000;
/** A sample may be so much ahead of the hub's clock and still be the newest; the hub's own rule. */
const ahead = 10 * 60_000;

export type Link = 'connecting' | 'live' | 'down';

class ProjectState {
  id = $state('');
  project: Project | undefined = $state.raw();
  error: ApiError | undefined = $state.raw();
  devices: SvelteMap<string, Device> = new SvelteMap();
  locations: SvelteMap<string, Location> = new SvelteMap();
  elements: Element[] = $state.raw([]);
  latest: SvelteMap<string, Sample> = new SvelteMap();
  /** State of the live stream, and since when it is so, by the browser's clock. */
  link: Link = $state('connecting');
  linkSince = $state(0);
  /** Grows when samples may have been missed: who shows series reads them anew. */
  epoch = $state(0);

  #close: (() => void) | undefined;
  #recent: { at: number; sample: Sample }[] = [];
  #listeners = new Set<(s: Sample) => void>();
  #reading: Promise<void> | undefined;
  #readAgain = false;
  #rereadAt = 0;

  may(permission: 'configure' | 'administer'): boolean {
    const role = this.project?.role ?? '';
    // Of what is archived or about to be destroyed nothing but its members and its end can be changed.
    if (permission === 'configure' && this.project && (this.project.archived !== 0 || this.project.destroy_at !== 0)) return false;
    return role === 'owner' || role === 'administrator' || (permission === 'configure' && role === 'editor');
  }

  /** Elements of a device, as its channels are ordered. */
  elementsOf(device: string): Element[] {
    return this.elements.filter((e) => e.device_id === device);
  }

  /** The zone in which a device's times are shown: its location's, else the project's. */
  zoneOf(device: Device | undefined): string {
    return this.locations.get(device?.location_id ?? '')?.zone || this.project?.zone || 'UTC';
  }

  open(id: string): void {
    if (this.id === id) return;
    this.close();
    this.id = id;
    // The stream first, then the reading: nothing falls between the two. A stream that does not come up shall not keep
    // anybody from what can be read.
    let started = false;
    const start = (): void => {
      if (started || this.id !== id) return;
      started = true;
      clearTimeout(timer);
      void this.read();
    };
    const timer = setTimeout(start, 1500);
    const stop = openLive(id, {
      open: () => {
        this.#linked('live');
        if (started) this.#missed();
        start();
      },
      sample: (s) => this.#sample(s),
      device: (d) => {
        const known = this.devices.get(d.id);
        if (known) this.devices.set(d.id, { ...known, online: d.online, last_seen: d.last_seen });
        else if (this.project) this.#reread(); // a device that is new
      },
      resync: () => this.#missed(),
      down: () => {
        this.#linked('down');
        start();
      },
      refused: () => {
        this.#linked('down');
        started = true;
        clearTimeout(timer);
        void this.read(); // its answer says it better, and logs out where that is the reason
      },
    });
    this.#close = () => {
      clearTimeout(timer);
      stop();
    };
  }

  close(): void {
    this.#close?.();
    this.#close = undefined;
    this.id = '';
    this.project = undefined;
    this.error = undefined;
    this.devices.clear();
    this.locations.clear();
    this.elements = [];
    this.latest.clear();
    this.#recent = [];
    this.#reading = undefined;
    this.#readAgain = false;
    this.link = 'connecting';
  }

  /** Reads everything but series. One reading at a time; one asked for meanwhile follows it. */
  read(): Promise<void> {
    if (this.#reading) {
      this.#readAgain = true;
      return this.#reading;
    }
    const id = this.id;
    const reading = this.#read(id).finally(() => {
      if (this.#reading !== reading) return; // of a project that is closed
      this.#reading = undefined;
      if (this.#readAgain) {
        this.#readAgain = false;
        void this.read();
      }
    });
    return (this.#reading = reading);
  }

  async #read(id: string): Promise<void> {
    const of = { params: { path: { project: id } } };
    try {
      const [project, devices, locations, elements, latest] = await Promise.all([
        ask(api.GET('/api/v1/projects/{project}', of)),
        pages((query) => ask(api.GET('/api/v1/projects/{project}/devices', { params: { ...of.params, query } }))),
        pages((query) => ask(api.GET('/api/v1/projects/{project}/locations', { params: { ...of.params, query } }))),
        pages((query) => ask(api.GET('/api/v1/projects/{project}/elements', { params: { ...of.params, query } }))),
        ask(api.GET('/api/v1/projects/{project}/latest', of)),
      ]);
      if (this.id !== id) return;
      replace(this.devices, devices);
      replace(this.locations, locations);
      this.elements = elements;
      for (const l of latest.items) this.#newest(l);
      this.project = project;
      this.error = undefined;
    } catch (e) {
      if (this.id === id) this.error = errorOf(e);
    }
  }

  /** Takes over a device that was changed or claimed here. */
  put(d: Device): void {
    this.devices.set(d.id, d);
  }

  /** Calls f with every live sample until the returned function is called. */
  listen(f: (s: Sample) => void): () => void {
    this.#listeners.add(f);
    return () => this.#listeners.delete(f);
  }

  /** Live samples that came in since a time by the browser's clock. */
  since(at: number): Sample[] {
    return this.#recent.filter((r) => r.at >= at).map((r) => r.sample);
  }

  #linked(link: Link): void {
    if (this.link !== link) this.linkSince = Date.now();
    this.link = link;
  }

  #missed(): void {
    void this.read();
    this.epoch++;
  }

  #sample(s: Sample): void {
    const at = Date.now();
    this.#recent.push({ at, sample: s });
    if (this.#recent.length > mostRecent || (this.#recent[0]?.at ?? at) < at - 2 * keepRecent) {
      this.#recent = this.#recent.slice(-mostRecent / 2).filter((r) => r.at >= at - keepRecent);
    }
    if (this.project && !this.elements.some((e) => e.id === s.element_id)) this.#reread();
    this.#newest(s);
    for (const f of this.#listeners) f(s);
  }

  #newest(s: Sample | Latest): void {
    const known = this.latest.get(s.element_id);
    if ((known && known.time > s.time) || s.time > hubNow() + ahead) return;
    this.latest.set(s.element_id, { element_id: s.element_id, time: s.time, value: s.value, flag: s.flag });
  }

  /** Something unknown was mentioned: read soon, not more than every 5 s. */
  #reread(): void {
    const now = Date.now();
    if (now < this.#rereadAt) return;
    this.#rereadAt = now + 5000;
    void this.read();
  }
}

function replace<T extends { id: string }>(map: SvelteMap<string, T>, items: readonly T[]): void {
  const ids = new Set(items.map((i) => i.id));
  for (const id of [...map.keys()]) if (!ids.has(id)) map.delete(id);
  for (const i of items) map.set(i.id, i);
}

export const project = new ProjectState();

/** The project of the address is the open one. */
export function followRoute(): void {
  const r = router.route;
  if ('project' in r) project.open(r.project);
  else project.close();
}
