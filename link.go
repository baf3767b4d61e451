package loggerhead

// LinkPurpose is what a one-time link does when somebody opens it.
type LinkPurpose string

const (
	LinkSignUp LinkPurpose = "sign_up"        // make the account that somebody asked for with this address
	LinkInvite LinkPurpose = "invitation"     // make an account somebody was invited to, or join a project with one
	LinkReset  LinkPurpose = "password_reset" // choose a new password
	LinkVerify LinkPurpose = "verify_email"   // prove that an account's address is its owner's
	LinkEmail  LinkPurpose = "change_email"   // prove that a new address is its owner's, who then gets it
	LinkUndo   LinkPurpose = "undo_email"     // give the old address back to an account
)

// Link is a one-time link that is sent by mail. Its token is told once; only the token's hash is kept. A later link of a
// purpose voids those before it, but for LinkUndo: who took an account over could void its owner's.
type Link struct {
	Purpose LinkPurpose
	Email   string // the address it was sent to, which is what whoever opens it proves
	User    UserID // whose account it changes; "" where it makes one
	Created Millis
	Expires Millis

	// Of an invitation to a project; "" is one to the installation alone.
	Project    ProjectID
	Invitation InvitationID
}
