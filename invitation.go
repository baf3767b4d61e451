package loggerhead

// InvitationID names an invitation.
type InvitationID string

// NewInvitationID returns a fresh random id.
func NewInvitationID() InvitationID { return InvitationID(randomID("inv_")) }

// Invitation asks whoever an address belongs to into a project. It is a grant only once it was accepted.
type Invitation struct {
	ID        InvitationID
	Project   ProjectID
	Email     string // as typed; compared without case
	Role      Role
	Locations []LocationID // as of [Member]
	Inviter   UserID
	Created   Millis
	Sent      Millis // when the mail last went out
	Expires   Millis
}
