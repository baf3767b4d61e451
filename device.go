package loggerhead

import "slices"

// DeviceState is where a device is in its life.
type DeviceState string

const (
	// DeviceClaimed belongs to a project but has no certificate yet.
	DeviceClaimed DeviceState = "claimed"
	// DeviceEnrolled has a certificate and may connect.
	DeviceEnrolled DeviceState = "enrolled"
	// DeviceRevoked may not connect until it is claimed anew.
	DeviceRevoked DeviceState = "revoked"
)

// Device is a datalogger.
type Device struct {
	ID       DeviceID
	Project  ProjectID
	Location LocationID // "" when at none
	Serial   string     // as printed on the box; unique in the installation
	Hardware string     // hardware id, e.g. "lh-sim-1"
	Name     string
	State    DeviceState
	Created  Millis
	// MaxOffline is after how many seconds of silence the device counts as offline.
	MaxOffline int
	Firmware   string // version of the running agent, as the device last said
	// LastSeen is the hub's time of the last authenticated contact; 0 is never.
	LastSeen Millis
	// ClockOffset is the device's clock minus the hub's, in ms, at the last upload.
	ClockOffset int64
	// ClockSuspect counts samples that were stored with an impossible time.
	ClockSuspect int64

	Attributes Attributes
	Note       string
}

// Online reports whether the device was heard of recently enough at now.
func (d Device) Online(now Millis) bool {
	return d.LastSeen != 0 && now-d.LastSeen <= Millis(d.MaxOffline)*1000
}

// Inventory is a device that exists, whoever will own it: what the maker or the operator lists before it is claimed.
type Inventory struct {
	Serial   string
	Hardware string
	// ClaimHash is the SHA-256 of the one-time claim code on the box.
	ClaimHash []byte
	// UsedKey is the SHA-256 of the public key that used the code up; empty while the code is good.
	UsedKey []byte
	// Device is set when it has been claimed.
	Device  DeviceID
	Project ProjectID
	Created Millis
}

// Meaning is what the time of a sample stands for.
type Meaning string

const (
	// Instantaneous is the value at that instant.
	Instantaneous Meaning = "instantaneous"
	// PrecedingMean, and its siblings, are statistics of the interval that ends at that instant.
	PrecedingMean  Meaning = "preceding_mean"
	PrecedingSum   Meaning = "preceding_sum"
	PrecedingMin   Meaning = "preceding_min"
	PrecedingMax   Meaning = "preceding_max"
	SucceedingMean Meaning = "succeeding_mean"
	Counter        Meaning = "counter" // a running total that only grows, but for resets
)

// Valid reports whether m is one of the meanings.
func (m Meaning) Valid() bool {
	switch m {
	case Instantaneous, PrecedingMean, PrecedingSum, PrecedingMin, PrecedingMax, SucceedingMean, Counter:
		return true
	}
	return false
}

// Element is one sensor or actuator value; its samples are its series (datalog).
type Element struct {
	ID       ElementID
	Project  ProjectID
	Device   DeviceID   // the device that feeds it; "" for none
	Location LocationID // of its device
	Channel  string     // port and quantity on the device, e.g. "1/water_level"
	Name     string
	Quantity string // e.g. "water_level", "temperature", "conductivity", "rain", "battery_voltage"
	Unit     string // UCUM code: m, Cel, uS/cm, mm, V
	Color    string // "#rrggbb"
	Digits   int    // digits after the decimal point when shown
	Interval int64  // expected ms between samples; 0 is unknown
	Meaning  Meaning
	Created  Millis

	Attributes Attributes
	Note       string
	// Fed are the devices that fed it before and are no longer bound to it, newest last: their uploads hold some of its
	// samples and when those came.
	Fed []DeviceID
}

// Latest is the newest sample of an element by its own time, never by arrival.
type Latest struct {
	Element ElementID
	Sample  Sample
	// Received is when the hub stored it.
	Received Millis
}

// Sources returns the devices whose uploads hold samples of the element: those that fed it, and the one that does.
func (e Element) Sources() []DeviceID {
	if len(e.Fed) == 0 {
		return []DeviceID{e.Source()}
	}
	return append(slices.Clone(e.Fed), e.Source())
}
