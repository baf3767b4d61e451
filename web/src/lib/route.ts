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
