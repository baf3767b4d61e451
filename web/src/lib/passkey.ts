// Passkeys: the browser's part of WebAuthn. The hub's options go in as they come, and what the browser says comes out as
// it is to be sent; the browser itself turns both from and into JSON.

import { ApiError } from '../api/problem';

/** Whether this browser can do it. It cannot where the page came over a connection it does not trust. */
export const canPasskey = typeof PublicKeyCredential === 'function' && 'parseRequestOptionsFromJSON' in PublicKeyCredential;

/** Makes a passkey. */
export async function makePasskey(options: unknown): Promise<unknown> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options as PublicKeyCredentialCreationOptionsJSON);
  return told(() => navigator.credentials.create({ publicKey }));
}

/** Lets a passkey answer. */
export async function askPasskey(options: unknown): Promise<unknown> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as PublicKeyCredentialRequestOptionsJSON);
  return told(() => navigator.credentials.get({ publicKey }));
}

async function told(act: () => Promise<Credential | null>): Promise<unknown> {
  try {
    const c = await act();
    if (!(c instanceof PublicKeyCredential)) throw new ApiError('internal', 0, 'The browser gave no passkey.');
    return c.toJSON();
  } catch (e) {
    if (e instanceof DOMException) throw new ApiError('invalid', 0, words(e.name));
    throw e;
  }
}

/** What the names of the browser's refusals mean to people. */
function words(name: string): string {
  switch (name) {
    case 'NotAllowedError': return 'No passkey was used: it was called off, or took too long.';
    case 'InvalidStateError': return 'This device has a passkey for your account already.';
    case 'SecurityError': return 'Passkeys work only at the address that the operator of this hub has set.';
  }
  return `The browser could not use a passkey (${name}).`;
}
