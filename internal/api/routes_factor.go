package api

import "net/http"

// factorRoutes are the operations on second factors, passkeys and single sign-on.
var factorRoutes = []route{
	public("POST", "/api/v1/session/factor", "finish-log-in", "Finish a log-in that needs a second factor", finishLogIn).answers(http.StatusOK),
	public("POST", "/api/v1/session/passkey/question", "ask-passkey", "Get what a browser is to ask of its passkeys, to log in", askPasskey).answers(http.StatusOK),
	public("POST", "/api/v1/session/passkey", "log-in-with-passkey", "Log in with a passkey alone", logInPasskey).answers(http.StatusOK),
	public("GET", "/api/v1/session/providers", "list-providers", "List the identity providers by which people may log in", listProviders),
	public("POST", "/api/v1/session/oidc/start", "start-provider-log-in", "Set out to log in by a provider", startProviderLogIn).answers(http.StatusOK),
	public("POST", "/api/v1/session/oidc/finish", "finish-provider-log-in", "Log in with what the provider sent back", finishProviderLogIn).answers(http.StatusOK),

	signedIn("POST", "/api/v1/session/confirm", "confirm-session", "Confirm that it is still you, for what needs that", confirmSession).answers(http.StatusOK).unproven(),
	signedIn("POST", "/api/v1/session/confirm/question", "ask-passkey-again", "Get what a browser is to ask of its passkeys, to confirm that it is still you", askPasskeyAgain).answers(http.StatusOK).unproven(),

	signedIn("GET", "/api/v1/me/factors", "get-factors", "What I prove who I am with", getFactors).unproven(),
	signedIn("POST", "/api/v1/me/totp", "begin-totp", "Begin to set up an authenticator app", beginTOTP).answers(http.StatusOK).secrets().unproven(),
	signedIn("POST", "/api/v1/me/totp/confirm", "confirm-totp", "Set up an authenticator app with its first code", confirmTOTP).answers(http.StatusOK).secrets().unproven(),
	signedIn("DELETE", "/api/v1/me/totp", "remove-totp", "Remove the authenticator app", removeTOTP),
	signedIn("POST", "/api/v1/me/recovery-codes", "renew-recovery-codes", "Get new recovery codes in the place of the old", renewRecoveryCodes).answers(http.StatusOK).secrets(),
	signedIn("POST", "/api/v1/me/passkeys/question", "begin-passkey", "Get what a browser is to make a passkey from", beginPasskey).answers(http.StatusOK).unproven(),
	signedIn("POST", "/api/v1/me/passkeys", "add-passkey", "Add a passkey", addPasskey).secrets().unproven(),
	signedIn("PATCH", "/api/v1/me/passkeys/{passkey}", "rename-passkey", "Call a passkey something else", renamePasskey).answers(http.StatusNoContent),
	signedIn("DELETE", "/api/v1/me/passkeys/{passkey}", "remove-passkey", "Remove a passkey", removePasskey),
	signedIn("POST", "/api/v1/me/identities/start", "start-link", "Set out to link an account at a provider", startLink).answers(http.StatusOK),
	signedIn("POST", "/api/v1/me/identities", "link-identity", "Link an account at a provider with what it sent back", linkIdentity),
	signedIn("DELETE", "/api/v1/me/identities/{identity}", "unlink-identity", "Unlink an account at a provider", unlinkIdentity),
}

// unproven lets sessions past that lack the second factor which the installation wants: what sets one up.
func (r route) unproven() route {
	r.setsUp = true
	return r
}
