// Addresses: /, /account, /sign-up, /forgot, /link (its token stands behind a #), /p/<project>, /p/<project>/members, /p/<project>/settings, /p/<project>/d/<device>?<range>,
// /security, /sso/<provider>, /pair/<code>. The hub answers every one of them with index.html.

export type Route =
  | { page: 'projects' }
  | { page: 'project'; project: string }
  | { page: 'members'; project: string }
  | { page: 'settings'; project: string }
  | { page: 'device'; project: string; device: string }
  | { page: 'security' }
  | { page: 'sso'; provider: string }
  | { page: 'pair'; code: string }
  | { page: 'account' | 'sign-up' | 'forgot' | 'link' }
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
  if (p === 'security' && project === undefined) return { page: 'security' };
  if (p === 'sso' && project !== undefined && kind === undefined) return { page: 'sso', provider: project };
  if (p === 'pair' && project !== undefined && kind === undefined) return { page: 'pair', code: project };
  if (project === undefined && (p === 'account' || p === 'sign-up' || p === 'forgot' || p === 'link')) return { page: p };
  if (p !== 'p' || project === undefined || more !== undefined) return { page: 'unknown' };
  if (kind === undefined) return { page: 'project', project };
  if (kind === 'members' && device === undefined) return { page: 'members', project };
  if (kind === 'settings' && device === undefined) return { page: 'settings', project };
  if (kind === 'd' && device !== undefined) return { page: 'device', project, device };
  return { page: 'unknown' };
}

export const link = {
  project: (project: string): string => `/p/${encodeURIComponent(project)}`,
  members: (project: string): string => `/p/${encodeURIComponent(project)}/members`,
  settings: (project: string): string => `/p/${encodeURIComponent(project)}/settings`,
  device: (project: string, device: string): string => `/p/${encodeURIComponent(project)}/d/${encodeURIComponent(device)}`,
};
