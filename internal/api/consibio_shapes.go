package api

import (
	"math"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/calc"
)

// consibioNumber is a float in answers: always with a point or an exponent, so that typed clients read a float.
type consibioNumber float64

func (n consibioNumber) MarshalJSON() ([]byte, error) { return appendFloat(nil, float64(n)), nil }

// appendFloat writes the shortest text that reads back as v and looks like a float. v is finite.
func appendFloat(b []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	start := len(b)
	b = strconv.AppendFloat(b, v, format, -1, 64)
	if format == 'f' && !strings.ContainsRune(string(b[start:]), '.') {
		b = append(b, '.', '0')
	}
	return b
}

// consibioTime is an instant in answers: seconds since 1970-01-01, exact to the millisecond.
type consibioTime lh.Millis

func (t consibioTime) MarshalJSON() ([]byte, error) { return appendSeconds(nil, lh.Millis(t)), nil }

// appendSeconds writes milliseconds as seconds, in decimals and exact.
func appendSeconds(b []byte, t lh.Millis) []byte {
	if t < 0 {
		b = append(b, '-')
		t = -t
	}
	b = strconv.AppendInt(b, int64(t/1000), 10)
	b = append(b, '.')
	ms := int64(t % 1000)
	b = append(b, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	for b[len(b)-1] == '0' && b[len(b)-2] != '.' {
		b = b[:len(b)-1]
	}
	return b
}

type consibioEmpty struct{}

type consibioUser struct {
	FullName    string       `json:"full_name"`
	Company     string       `json:"company"`
	LastLogin   consibioTime `json:"last_login"`
	Phone       *string      `json:"phone"`
	Email       string       `json:"email"`
	Preferences struct {
		FavoriteProjects []string `json:"favorite_projects"`
		HideSidebar      bool     `json:"ui_always_hide_left_sidebar"`
	} `json:"preferences"`
	EmailVerifiedAt consibioTime `json:"email_verified_at"`
}

type consibioProject struct {
	Name         string             `json:"name"`
	Roles        map[string]lh.Role `json:"roles"`
	Invites      *consibioEmpty     `json:"invites"`
	Dealer       string             `json:"dealer"`
	Organization string             `json:"organization"`
}

type consibioSubChannel struct {
	ElementID lh.ElementID  `json:"element_id"`
	Config    consibioEmpty `json:"config"`
}

type consibioChannel struct {
	SubChannels map[string]consibioSubChannel `json:"sub_channels"`
	Config      consibioEmpty                 `json:"config"`
}

type consibioFirmware struct {
	Current    string `json:"current"`
	Target     string `json:"target"`
	AutoUpdate bool   `json:"auto_update"`
	Broker     string `json:"broker"`
}

// consibioDevice is a device; V is the type of its versions, which are numbers in v2 and text in v1.
type consibioDevice[V any] struct {
	Name            string                     `json:"name"`
	Type            string                     `json:"type"`
	Channels        map[string]consibioChannel `json:"channels"`
	Controllers     consibioEmpty              `json:"controllers"`
	Alarms          consibioEmpty              `json:"alarms"`
	ExpansionA      string                     `json:"expansion_A"`
	ExpansionB      string                     `json:"expansion_B"`
	MaxOffline      int                        `json:"max_offline"`
	MaxInterval     int                        `json:"max_interval"`
	TelemetryClient consibioEmpty              `json:"telemetry_client"`
	LocationID      lh.LocationID              `json:"location_id"`
	ProjectID       lh.ProjectID               `json:"project_id"`
	Firmware        consibioFirmware           `json:"firmware"`
	Versions        struct {
		Cloud  V `json:"cloud"`
		Device V `json:"device"`
	} `json:"versions"`
}

// consibioDeviceOf shows a device with the elements it feeds.
func consibioDeviceOf[V any](d lh.Device, elements []lh.Element, version V) consibioDevice[V] {
	out := consibioDevice[V]{Name: d.Name, Type: d.Hardware, Channels: map[string]consibioChannel{}, MaxOffline: d.MaxOffline, LocationID: d.Location,
		ProjectID: d.Project, Firmware: consibioFirmware{Current: d.Firmware, Target: d.Firmware}}
	out.Versions.Cloud, out.Versions.Device = version, version
	for _, e := range elements {
		if e.Device != d.ID {
			continue
		}
		channel, sub := consibioPort(e.Channel)
		if _, ok := out.Channels[channel]; !ok {
			out.Channels[channel] = consibioChannel{SubChannels: map[string]consibioSubChannel{}}
		}
		out.Channels[channel].SubChannels[sub] = consibioSubChannel{ElementID: e.ID}
		out.MaxInterval = max(out.MaxInterval, int((e.Interval+999)/1000))
	}
	return out
}

// consibioPort cuts a channel into port and quantity: "1/temperature" is channel 1 with the sub channel temperature. A
// channel without a quantity has one sub channel, "0".
func consibioPort(channel string) (port, sub string) {
	port, sub, _ = strings.Cut(channel, "/")
	if sub == "" {
		sub = "0"
	}
	return port, sub
}

// consibioReading is a value at a time; both are 0 where there is none yet.
type consibioReading struct {
	Val  consibioNumber `json:"val"`
	Time consibioTime   `json:"time"`
}

// consibioNothing is a command that was never given.
type consibioNothing struct {
	Time *consibioTime   `json:"time"`
	Val  *consibioNumber `json:"val"`
}

type consibioElement struct {
	Name              string          `json:"name"`
	Unit              string          `json:"unit"`
	Color             string          `json:"color"`
	SigDigits         int             `json:"sigDigits"`
	Numeric           bool            `json:"numeric"`
	Type              string          `json:"type"`
	ElementType       string          `json:"element_type"`
	Source            string          `json:"source"`
	ConnectionTimeout int             `json:"connection_timeout"`
	DesiredOutput     consibioNothing `json:"desired_output"`
	LastCmd           consibioNothing `json:"last_cmd"`
	Telemetry         struct {
		CurVal  consibioReading `json:"cur_val"`
		LastVal consibioReading `json:"last_val"`
	} `json:"telemetry"`
}

// consibioTimeout is after how many seconds of silence an element that no device feeds counts as cut off.
const consibioTimeout = 60

// consibioElementOf shows an element. timeout is its device's; 0 is none. Both values of telemetry are the newest.
func consibioElementOf(e lh.Element, timeout int, latest *lh.Latest) consibioElement {
	out := consibioElement{Name: e.Name, Unit: calc.UnitText(e.Unit), Color: strings.ToLower(e.Color), SigDigits: e.Digits, Numeric: true,
		ElementType: "monitor", ConnectionTimeout: timeout}
	if out.Color == "" {
		out.Color = "#3b75af"
	}
	if timeout == 0 {
		out.ConnectionTimeout = consibioTimeout
	}
	if e.Device != "" {
		port, sub := consibioPort(e.Channel)
		out.Source = "devices/" + string(e.Device) + "/" + port + "/" + sub
	}
	if latest != nil {
		r := consibioReading{consibioNumber(latest.Sample.Value), consibioTime(latest.Sample.Time)}
		out.Telemetry.CurVal, out.Telemetry.LastVal = r, r
	}
	return out
}
