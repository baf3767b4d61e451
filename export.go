package loggerhead

// ExportID names an export.
type ExportID string

// NewExportID returns a fresh random id.
func NewExportID() ExportID { return ExportID(randomID("exp_")) }

// ExportState is how far an export is.
type ExportState string

const (
	ExportWaiting ExportState = "waiting" // for its turn
	ExportRunning ExportState = "running"
	ExportReady   ExportState = "ready" // to be downloaded, until it expires
	ExportFailed  ExportState = "failed"
	ExportRemoved ExportState = "removed" // by somebody, or it has expired; nobody sees it any more
)

// ExportKind is what an export is of.
type ExportKind string

const (
	// ExportSeries is the series of some elements.
	ExportSeries ExportKind = "series"
	// ExportProject is everything in a project: every series raw and as people see it, what describes it, corrections,
	// approvals and the audit trail.
	ExportProject ExportKind = "project"
)

// ExportFormat is the format of an export's file.
type ExportFormat string

const (
	ExportCSV     ExportFormat = "csv"
	ExportNDJSON  ExportFormat = "ndjson"
	ExportXLSX    ExportFormat = "xlsx"
	ExportParquet ExportFormat = "parquet"
	ExportZIP     ExportFormat = "zip" // of a whole project, and of nothing else
)

// ExportLayout is how samples are laid out in an export's file.
type ExportLayout string

const (
	// ExportWide has a row for each time and a column for each element.
	ExportWide ExportLayout = "wide"
	// ExportLong has a row for each sample, element by element.
	ExportLong ExportLayout = "long"
	// ExportConsibio is wide as Consibio Cloud writes it: a first column Date (DD/MM-YY HH:MM:SS), columns named after
	// the elements.
	ExportConsibio ExportLayout = "consibio"
)

// ExportRequest is what an export is asked to hold.
type ExportRequest struct {
	Kind      ExportKind   `json:"kind"`
	Elements  []ElementID  `json:"elements,omitempty"` // of ExportSeries, in their order
	From      Millis       `json:"from"`               // included
	To        Millis       `json:"to"`                 // excluded
	Zone      string       `json:"zone"`               // in which times are written and days are cut
	Format    ExportFormat `json:"format"`
	Layout    ExportLayout `json:"layout,omitempty"`
	Raw       bool         `json:"raw,omitempty"`   // what was measured, without corrections and approvals
	AsOf      Millis       `json:"as_of,omitempty"` // as the series stood then; 0 is now
	Step      string       `json:"step,omitempty"`  // "" is every sample; else statistics of buckets
	Functions []string     `json:"functions,omitempty"`
	Flags     bool         `json:"flags,omitempty"` // with the quality of each sample
}

// Export is a file of a project's data that the hub makes in the background.
type Export struct {
	ID      ExportID
	Project ProjectID
	By      Actor
	Created Millis
	Request ExportRequest
	Name    string // of the file
	State   ExportState
	// Attempt counts how often a hub began to make it.
	Attempt  int64
	Done     int64 // samples written
	Total    int64 // samples there are; 0 while they are not counted
	Size     int64 // bytes of the file so far
	Parts    int64 // pieces it is kept in
	Finished Millis
	Expires  Millis // when it is removed; 0 while it is not finished
	Reason   string // why it failed, in words
}
