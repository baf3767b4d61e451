import { describe, expect, it } from 'vitest';
import { link, routeOf } from './route';

describe('routeOf', () => {
  it('knows every address that link makes, whatever is in the ids', () => {
    for (const id of ['prj_0123', 'a/b', 'ø %', '..']) {
      expect(routeOf(link.project(id))).toEqual({ page: 'project', project: id });
      expect(routeOf(link.members(id))).toEqual({ page: 'members', project: id });
      expect(routeOf(link.settings(id))).toEqual({ page: 'settings', project: id });
      expect(routeOf(link.device('p', id))).toEqual({ page: 'device', project: 'p', device: id });
    }
    expect(routeOf('/')).toEqual({ page: 'projects' });
    expect(routeOf('/security')).toEqual({ page: 'security' });
    expect(routeOf('/pair/WDJB-MJHT')).toEqual({ page: 'pair', code: 'WDJB-MJHT' });
    expect(routeOf('/sso/corp')).toEqual({ page: 'sso', provider: 'corp' });
    for (const page of ['account', 'sign-up', 'forgot', 'link'] as const) expect(routeOf(`/${page}`)).toEqual({ page });
  });
  it('knows no other', () => {
    for (const path of ['/x', '/security/x', '/sso', '/sso/a/b', '/pair', '/pair/a/b', '/p', '/p/a/b', '/p/a/d', '/p/a/d/b/c', '/p/a/members/b', '/p/%E0%A4%A', '/index.html', '/link/x', '/account/x']) expect(routeOf(path), path).toEqual({ page: 'unknown' });
  });
});
