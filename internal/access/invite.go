package access

import (
	"context"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Invite asks whoever an address belongs to into the scope's project; see [store.DB.Invite].
func (a *Access) Invite(ctx context.Context, sc store.Scope, i lh.Invitation) (lh.Invitation, error) {
	return a.db.Invite(ctx, sc, i)
}

// ResendInvitation makes an invitation good for its whole life again; see [store.DB.ResendInvitation].
func (a *Access) ResendInvitation(ctx context.Context, sc store.Scope, id lh.InvitationID) (lh.Invitation, error) {
	return a.db.ResendInvitation(ctx, sc, id)
}
