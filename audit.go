package loggerhead

import "net/netip"

// ActorKind is what sort of principal did something.
type ActorKind string

const (
	ActorUser        ActorKind = "user"
	ActorService     ActorKind = "service account"
	ActorIntegration ActorKind = "integration"
	ActorDevice      ActorKind = "device"
	ActorHub         ActorKind = "hub"
)

// Actor is who did something, as the audit trail names them.
type Actor struct {
	Kind ActorKind
	ID   string
	From netip.Addr `json:"-"` // the address it was done from; the zero Addr is not known
}

// AuditEvent is one entry of a project's audit trail. Events of a project are numbered from 1 without a hole and
// chained: Hash covers the event and the Hash before it, so that a removed or altered event is found.
type AuditEvent struct {
	Project ProjectID
	Number  int64
	Time    Millis
	Actor   Actor
	Action  string // e.g. "device.claim"
	Subject string // id of what was changed
	Detail  string // JSON of what changed, mostly before and after; no secrets
	Hash    []byte

	// What a reader of the trail is told beside: how Hash was made, and the Hash of the event before.
	Format int    `json:"-"`
	Before []byte `json:"-"`
}
