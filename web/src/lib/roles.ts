// Roles, and what each may give to others.

export const roles = ['viewer', 'editor', 'administrator', 'owner'] as const;
export type Role = (typeof roles)[number];

export const roleText: Record<Role, string> = {
  viewer: 'Viewer: reads',
  editor: 'Editor: also changes devices and elements',
  administrator: 'Administrator: also members and settings',
  owner: 'Owner: also deletes the project',
};

/** The roles that somebody with a role may give: nobody makes more of others than they are. */
export function grantable(own: string): Role[] {
  return own === 'owner' ? [...roles] : roles.filter((r) => r !== 'owner');
}

/** Whether a role may be limited to locations; who could lift the limit is not limited. */
export function limitable(role: string): boolean {
  return role === 'viewer' || role === 'editor';
}
