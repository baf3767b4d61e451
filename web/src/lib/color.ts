// Colours of elements are the project's choice, made once for light and dark pages.

const fallback = '#5b7f8c';

/** An element's colour as it is drawn: lighter on dark pages, where deep colours sink. */
export function drawn(color: string, dark: boolean): string {
  const hex = /^#[0-9a-fA-F]{6}$/.test(color) ? color : fallback;
  if (!dark) return hex;
  const parts = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return '#' + parts.map((p) => Math.round(p + (255 - p) * 0.32).toString(16).padStart(2, '0')).join('');
}
