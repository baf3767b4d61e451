package loggerhead

// ChangeKind is what sort of thing was changed.
type ChangeKind string

// The kinds that everybody who may read is told of; others are named by the first word of their audit events.
const (
	ChangedProject    ChangeKind = "project"
	ChangedMember     ChangeKind = "member"
	ChangedLocation   ChangeKind = "location"
	ChangedDevice     ChangeKind = "device"
	ChangedElement    ChangeKind = "element"
	ChangedSeries     ChangeKind = "series" // samples were deleted; the subject is the element
	ChangedCorrection ChangeKind = "correction"
	ChangedApproval   ChangeKind = "approval"
)

// Operation is what became of a thing.
type Operation string

const (
	OperationCreate Operation = "create"
	OperationChange Operation = "change"
	OperationDelete Operation = "delete"
)

// Change is one thing that was changed in a project.
type Change struct {
	Number    int64 // of the audit event it comes of
	Kind      ChangeKind
	ID        string
	Version   int64 // counts the changes of this thing from 1
	Operation Operation
	Parent    ElementID // of a correction or an approval
	Time      Millis
	From, To  Millis // the range of a series that it concerns; both 0 where there is none
}

// Mark says that samples of one UTC day came into an element's series, or were changed in it.
type Mark struct {
	Number  int64
	Element ElementID
	Day     int32
	Time    Millis // by the hub's clock, when it last happened
}
