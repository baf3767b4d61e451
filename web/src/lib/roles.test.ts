import { describe, expect, it } from 'vitest';
import { grantable, limitable, roles, roleText } from './roles';

describe('roles', () => {
  it('are given by whoever has them, or more', () => {
    expect(grantable('owner')).toEqual(['viewer', 'editor', 'administrator', 'owner']);
    expect(grantable('administrator')).toEqual(['viewer', 'editor', 'administrator']);
  });
  it('are limited only where the limit cannot be lifted', () => {
    expect(roles.filter(limitable)).toEqual(['viewer', 'editor']);
  });
  it('each say what they are', () => {
    for (const r of roles) expect(roleText[r].toLowerCase()).toContain(r);
  });
});
