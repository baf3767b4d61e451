package api

import "net/http"

// peopleRoutes are the operations on accounts of people.
var peopleRoutes = []route{
	public("GET", "/api/v1/installation", "get-installation", "How one gets an account here", getInstallation),
	public("POST", "/api/v1/sign-up", "ask-sign-up", "Ask for an account: its link comes by mail", askSignUp).answers(http.StatusAccepted).
		says("Where people sign up by themselves. The answer is the same, and takes as long, whether the address has an account: only the mail tells."),
	public("POST", "/api/v1/password-reset", "ask-password-reset", "Ask for a new password: its link comes by mail", askPasswordReset).answers(http.StatusAccepted).
		says("The answer is the same, and takes as long, whether the address has an account: only the mail tells."),
	public("POST", "/api/v1/links/show", "show-link", "What a one-time link is for, without using it up", showLink).answers(http.StatusOK),
	public("POST", "/api/v1/links/sign-up", "sign-up", "Make the account that a link is for", signUp).
		says("The account's address is the one that the link was sent to. Where the link came with an invitation to a project, the account is a member of it. Then log in."),
	public("POST", "/api/v1/links/password", "reset-password", "Choose a new password by a link", resetPassword).answers(http.StatusNoContent).
		says("Every session of the account ends. Then log in."),
	public("POST", "/api/v1/links/use", "use-link", "Confirm an address, or undo its change, by a link", useLink).answers(http.StatusOK).
		says("For links whose purpose is verify_email, change_email or undo_email."),

	signedIn("GET", "/api/v1/me", "get-account", "My account", getAccount).unproven(),
	signedIn("PATCH", "/api/v1/me", "change-account", "Change my account", changeAccount),
	signedIn("PUT", "/api/v1/me/password", "change-password", "Change my password", changePassword).secrets().unproven().
		says("Every other session ends; this one goes on under the token in the answer, the one it had is worth nothing. An account with a second factor, or without a password, needs confirm-session first instead of the current password."),
	signedIn("POST", "/api/v1/me/email", "change-email", "Ask for another address: the link that makes the change comes there by mail", changeEmail).answers(http.StatusAccepted).
		says("When the link is opened, the old address gets a mail with a link that undoes the change for seven days."),
	signedIn("POST", "/api/v1/me/verification", "verify-email", "Ask for a link that proves my address", verifyEmail).answers(http.StatusAccepted),
	signedIn("GET", "/api/v1/me/sessions", "list-sessions", "List where I am logged in", listSessions).unproven(),
	signedIn("DELETE", "/api/v1/me/sessions/{session}", "end-session", "End one of my sessions", endSession).unproven(),
	signedIn("POST", "/api/v1/me/sessions/end-others", "end-other-sessions", "End all of my sessions but this one", endOtherSessions).answers(http.StatusOK).unproven(),
	signedIn("POST", "/api/v1/me/delete", "delete-account", "Delete my account, for good", deleteAccount).answers(http.StatusNoContent).
		says("What it did stays in the audit trails, by its id alone. Conflict: it is the last owner of a project, which is named."),

	signedIn("GET", "/api/v1/users", "list-users", "List everybody who has an account", listUsers).sorted(userSheet.fields()).says("For operators of the installation."),
	signedIn("POST", "/api/v1/users/invitations", "invite-user", "Invite an address to make an account", inviteUser).answers(http.StatusAccepted).says("For operators of the installation."),
	signedIn("POST", "/api/v1/users/{user}/disable", "disable-user", "Bar an account; its sessions end at once", disableUser).answers(http.StatusNoContent).says("For operators of the installation."),
	signedIn("POST", "/api/v1/users/{user}/enable", "enable-user", "Let a barred account in again", enableUser).answers(http.StatusNoContent).says("For operators of the installation."),
}
