// Which elements share a chart: those of one unit and kind, so that they share a scale.

interface Groupable {
  id: string;
  quantity: string;
  unit: string;
  meaning: string;
}

export interface Group<E> {
  key: string;
  elements: E[];
  /** Shown as increases per step. */
  counter: boolean;
}

/** More lines than this in one chart cannot be told apart. */
const perChart = 5;

/** Groups in the order of their first element; the battery last, as it is about the device and not the site. */
export function groupsOf<E extends Groupable>(elements: readonly E[]): Group<E>[] {
  const groups = new Map<string, Group<E>>();
  for (const e of elements) {
    const counter = e.meaning === 'counter';
    for (let n = 0; ; n++) {
      const key = [counter ? 'counter' : '', e.unit, e.unit === '' || e.quantity === 'battery_voltage' ? e.quantity : '', n].join('|');
      const g = groups.get(key);
      if (!g) {
        groups.set(key, { key, elements: [e], counter });
        break;
      }
      if (g.elements.length < (counter ? 1 : perChart)) {
        g.elements.push(e);
        break;
      }
    }
  }
  const battery = (g: Group<E>): number => (g.elements.every((e) => e.quantity === 'battery_voltage') ? 1 : 0);
  return [...groups.values()].sort((a, b) => battery(a) - battery(b));
}
