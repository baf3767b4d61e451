package access

import (
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Device is a datalogger that has proven who it is with its certificate.
type Device struct {
	ID      lh.DeviceID
	Project lh.ProjectID
	Scope   store.Scope
}
