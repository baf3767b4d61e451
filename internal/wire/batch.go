package wire

import (
	lh "github.com/loggerhead-cloud/loggerhead"
)

// Bounds of one batch. An encoder refuses to pass them; a decoder calls what passes them invalid.
const (
	MaxBatchBytes = 1 << 20
	MaxRecords    = 32768
	MaxChannels   = 512
	MaxChannelLen = 96
	MaxValues     = 262144
)

// Media types of a batch over HTTPS.
const (
	ContentBatch = "application/vnd.loggerhead.batch"
	ContentJSON  = "application/json"
)

// Batch is an unbroken run of records of one device's log.
type Batch struct {
	// Log is the random id the device gave its log when it made it. 0 is a device without a log: its writes rank by
	// arrival.
	Log uint64
	// First is the sequence number of Records[0]; the others follow without a hole. A log's first record is 1.
	First uint32
	// Sent is the device's clock when it sent the batch; 0 when it does not say.
	Sent lh.Millis
	// Channels are the channel keys ("1/water_level") that values refer to by index; no key appears twice.
	Channels []string
	Records  []Record

	values []Value // memory of the records' values, where a binary batch was decoded
}

// Record is what a device sampled at one instant.
type Record struct {
	Time   lh.Millis
	Values []Value
}

// Value is one channel's reading in a record. A channel that gave nothing is absent.
type Value struct {
	Channel uint16 // index into Batch.Channels
	Flag    lh.Flag
	Value   float64 // finite
}

// Last returns the sequence number of the last record; First-1 when there is none.
func (b *Batch) Last() uint32 { return b.First + uint32(len(b.Records)) - 1 }

// Samples returns the number of values in all records.
func (b *Batch) Samples() int {
	n := 0
	for i := range b.Records {
		n += len(b.Records[i].Values)
	}
	return n
}

// Ack is the hub's answer to a stored batch. It is sent after the samples are synced to disk.
type Ack struct {
	AckedThrough uint32    `json:"acked_through"`
	Time         lh.Millis `json:"time"` // the hub's clock
}

// Manifest is what a device says of itself, at each start and when it changes.
type Manifest struct {
	Version  string            `json:"version"`  // of the agent
	Hardware string            `json:"hardware"` // hardware id
	Channels []ManifestChannel `json:"channels"` // at most MaxChannels
}

// ManifestChannel describes one channel.
type ManifestChannel struct {
	Key      string     `json:"key"` // e.g. "1/water_level"
	Name     string     `json:"name"`
	Quantity string     `json:"quantity"`
	Unit     string     `json:"unit"` // UCUM
	Digits   int        `json:"digits"`
	Interval int64      `json:"interval_ms"`
	Meaning  lh.Meaning `json:"meaning"`
}

// Welcome is the hub's answer to a manifest.
type Welcome struct {
	Device  lh.DeviceID  `json:"device"`
	Project lh.ProjectID `json:"project"`
	Time    lh.Millis    `json:"time"`
}

// Notice is a message on a device's downlink.
type Notice struct {
	Type    string  `json:"type"` // "error"
	Code    lh.Code `json:"code,omitempty"`
	Message string  `json:"message,omitempty"`
	First   uint32  `json:"first,omitempty"` // of the batch it is about
}

// UpTopic is where a device publishes its batches, DownTopic where it reads its notices.
func UpTopic(d lh.DeviceID) string   { return "lh/" + string(d) + "/up" }
func DownTopic(d lh.DeviceID) string { return "lh/" + string(d) + "/down" }
