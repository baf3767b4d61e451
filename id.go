package loggerhead

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// Identifiers are a three-letter kind, an underscore and 16 characters of Crockford's base32 in lower case
// (80 random bits): short enough for a URL and a topic, never guessable, never reused.
type (
	// ProjectID names a project, the sandbox that owns everything below it.
	ProjectID string
	// LocationID names a location of a project.
	LocationID string
	// DeviceID names a datalogger. It is also the common name of the device's certificate.
	DeviceID string
	// ElementID names one element, and so its series.
	ElementID string
	// UserID names a person.
	UserID string
	// SessionID names a log-in of a user; it is not the secret token.
	SessionID string
	// ServiceID names a service account of a project.
	ServiceID string
	// KeyID names an API key of a service account; it is not the secret key.
	KeyID string
	// IntegrationID names an integration of a project.
	IntegrationID string
	// AuditID names an audit event.
	AuditID string
	// CorrectionID names a correction of a series.
	CorrectionID string
	// ApprovalID names an approval of a series.
	ApprovalID string
	// MailID names a mail that waits to be sent.
	MailID string
)

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var idAlphabet = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// randomID returns prefix and 80 random bits. crypto/rand.Read never fails (it aborts the program instead).
func randomID(prefix string) string {
	var b [10]byte
	rand.Read(b[:])
	return prefix + idAlphabet.EncodeToString(b[:])
}

// NewProjectID returns a fresh random id; so do its siblings.
func NewProjectID() ProjectID   { return ProjectID(randomID("prj_")) }
func NewLocationID() LocationID { return LocationID(randomID("loc_")) }
func NewDeviceID() DeviceID     { return DeviceID(randomID("dev_")) }
func NewElementID() ElementID   { return ElementID(randomID("elm_")) }
func NewUserID() UserID         { return UserID(randomID("usr_")) }
func NewSessionID() SessionID   { return SessionID(randomID("ses_")) }
func NewAuditID() AuditID       { return AuditID(randomID("aud_")) }

// NewServiceID returns a fresh random id; so do its siblings.
func NewServiceID() ServiceID         { return ServiceID(randomID("svc_")) }
func NewKeyID() KeyID                 { return KeyID(randomID("key_")) }
func NewIntegrationID() IntegrationID { return IntegrationID(randomID("int_")) }

// NewCorrectionID returns a fresh random id; so does its sibling.
func NewCorrectionID() CorrectionID { return CorrectionID(randomID("cor_")) }
func NewApprovalID() ApprovalID     { return ApprovalID(randomID("apr_")) }
func NewMailID() MailID             { return MailID(randomID("eml_")) }

// Valid reports whether the id has the form of its kind. It says nothing of existence.
func (id ProjectID) Valid() bool  { return validID(string(id), "prj_") }
func (id LocationID) Valid() bool { return validID(string(id), "loc_") }
func (id DeviceID) Valid() bool   { return validID(string(id), "dev_") }
func (id ElementID) Valid() bool  { return validID(string(id), "elm_") }
func (id UserID) Valid() bool     { return validID(string(id), "usr_") }

// Valid is as its siblings'.
func (id ServiceID) Valid() bool     { return validID(string(id), "svc_") }
func (id IntegrationID) Valid() bool { return validID(string(id), "int_") }

func validID(s, prefix string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != 16 {
		return false
	}
	// Not DecodeString: it skips line breaks.
	return strings.Trim(rest, alphabet) == ""
}
