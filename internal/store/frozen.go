package store

import (
	"context"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// changes are the actions that a frozen project refuses to people and programs, also those that were under way when it
// was frozen.
var changes = map[string]bool{
	"project.change": true, "project.transfer": true, "member.set": true, "invitation.create": true, "invitation.resend": true, "invitation.accept": true,
	"location.create": true, "location.change": true, "location.delete": true, "device.claim": true, "device.change": true, "device.delete": true,
	"element.create": true, "element.change": true, "element.delete": true, "series.delete": true,
	"service_account.create": true, "service_account.change": true, "integration.create": true, "integration.change": true, "key.create": true,
	"correction.add": true, "correction.revoke": true, "series.approve": true, "series.unapprove": true,
}

// unfrozen refuses a change by a person or a program in a project that is frozen: a Conflict. What takes somebody or
// something out of it, devices and the hub itself go on. The caller's transaction has the project's row, which is what
// freezing takes, too.
func (t *tx) unfrozen(ctx context.Context, project lh.ProjectID, by lh.Actor, action string) error {
	if by.Kind == lh.ActorDevice || by.Kind == lh.ActorHub || !changes[action] {
		return nil
	}
	var st Standing
	err := t.db.row(ctx, t, `SELECT archived, destroy FROM project WHERE id = $1`, project).Scan(&st.Archived, &st.Destroy)
	if err != nil {
		return err
	}
	return st.Frozen()
}
