package api

import (
	"context"
	"slices"
	"strconv"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Device is a datalogger in answers.
type Device struct {
	ID           lh.DeviceID    `json:"id"`
	Name         string         `json:"name"`
	Serial       string         `json:"serial"`
	Hardware     string         `json:"hardware"`
	State        lh.DeviceState `json:"state" enum:"claimed,enrolled,revoked"`
	LocationID   lh.LocationID  `json:"location_id" doc:"Empty when at none"`
	Firmware     string         `json:"firmware" doc:"Version, as the device last said"`
	MaxOffline   int            `json:"max_offline" doc:"Seconds of silence after which it counts as offline"`
	Online       bool           `json:"online"`
	LastSeen     lh.Millis      `json:"last_seen" doc:"0 is never"`
	ClockOffset  int64          `json:"clock_offset_ms" doc:"The device's clock less the hub's, at the last upload"`
	ClockSuspect int64          `json:"clock_suspect" doc:"Samples stored with an impossible time"`
	Created      lh.Millis      `json:"created"`
	Battery      *Reading       `json:"battery" doc:"The newest battery voltage; null where the device measures none, or has sent none"`
	Elements     int            `json:"elements" doc:"How many elements it feeds"`

	Attributes lh.Attributes `json:"attributes" nullable:"false" doc:"Keys and values of your own; lists filter by them"`
	Note       string        `json:"note"`
}

// Reading is the newest value of an element.
type Reading struct {
	ElementID lh.ElementID `json:"element_id"`
	Value     float64      `json:"value"`
	Unit      string       `json:"unit"`
	Time      lh.Millis    `json:"time"`
}

// batteryQuantity is the quantity of the element that tells a device's battery voltage.
const batteryQuantity = "battery_voltage"

// devicesOf completes devices with what their elements tell.
func (a *API) devicesOf(ctx context.Context, sc store.Scope, ds []lh.Device) ([]Device, error) {
	elements, err := a.DB.Elements(ctx, sc)
	if err != nil {
		return nil, err
	}
	count := map[lh.DeviceID]int{}
	battery := map[lh.DeviceID]lh.Element{}
	var ids []lh.ElementID
	for _, e := range elements {
		count[e.Device]++
		if e.Quantity == batteryQuantity && e.Device != "" {
			if _, ok := battery[e.Device]; !ok {
				battery[e.Device] = e
				ids = append(ids, e.ID)
			}
		}
	}
	latest := map[lh.ElementID]lh.Latest{}
	if len(ids) > 0 {
		ls, err := a.DB.Latest(ctx, sc, ids)
		if err != nil {
			return nil, err
		}
		for _, l := range ls {
			latest[l.Element] = l
		}
	}
	now := lh.MillisOf(a.Now())
	out := make([]Device, len(ds))
	for i, d := range ds {
		out[i] = Device{ID: d.ID, Name: d.Name, Serial: d.Serial, Hardware: d.Hardware, State: d.State, LocationID: d.Location,
			Firmware: d.Firmware, MaxOffline: d.MaxOffline, Online: online(d, now), LastSeen: d.LastSeen,
			ClockOffset: d.ClockOffset, ClockSuspect: d.ClockSuspect, Created: d.Created, Elements: count[d.ID], Attributes: shownAttributes(d.Attributes), Note: d.Note}
		if e, ok := battery[d.ID]; ok {
			if l, ok := latest[e.ID]; ok {
				out[i].Battery = &Reading{e.ID, l.Sample.Value, e.Unit, l.Sample.Time}
			}
		}
	}
	return out, nil
}

func (a *API) deviceAnswer(ctx context.Context, sc store.Scope, d lh.Device) (*one[Device], error) {
	ds, err := a.devicesOf(ctx, sc, []lh.Device{d})
	if err != nil {
		return nil, err
	}
	return &one[Device]{ds[0]}, nil
}

type listDevicesInput struct {
	ProjectPath
	Page
	Search
	LocationID lh.LocationID  `query:"location_id" maxLength:"40"`
	State      lh.DeviceState `query:"state" enum:"claimed,enrolled,revoked"`
	Serial     string         `query:"serial" maxLength:"64"`
	Hardware   string         `query:"hardware" maxLength:"64"`
	Firmware   string         `query:"firmware" maxLength:"64"`
	Online     string         `query:"online" enum:"true,false"`
	Attributed
}

var deviceSheet = sheet[lh.Device]{usual: "created", id: func(d lh.Device) string { return string(d.ID) }, by: map[string]func(lh.Device) sortKey{
	"created":   func(d lh.Device) sortKey { return byNumber(d.Created) },
	"last_seen": func(d lh.Device) sortKey { return byNumber(d.LastSeen) },
	"name":      func(d lh.Device) sortKey { return byText(d.Name) },
	"serial":    func(d lh.Device) sortKey { return byText(d.Serial) },
}}

func listDevices(a *API, ctx context.Context, sc store.Scope, in *listDevicesInput) (*list[Device], error) {
	ds, err := a.DB.Devices(ctx, sc)
	if err != nil {
		return nil, err
	}
	has, err := in.wanted()
	if err != nil {
		return nil, err
	}
	now := lh.MillisOf(a.Now())
	ds = slices.DeleteFunc(ds, func(d lh.Device) bool {
		return !in.matches(d.Name, d.Serial) || !has(d.Attributes) || in.LocationID != "" && d.Location != in.LocationID || in.State != "" && d.State != in.State ||
			in.Serial != "" && d.Serial != in.Serial || in.Hardware != "" && d.Hardware != in.Hardware || in.Firmware != "" && d.Firmware != in.Firmware ||
			in.Online != "" && strconv.FormatBool(online(d, now)) != in.Online
	})
	p, err := paged(a, ctx, in.Page, &deviceSheet, ds)
	if err != nil {
		return nil, err
	}
	out, err := a.devicesOf(ctx, sc, p.items)
	if err != nil {
		return nil, err
	}
	return pageOf(p, out), nil
}

// online reports whether a device counts as online; one that is barred or not enrolled never does.
func online(d lh.Device, now lh.Millis) bool { return d.Online(now) && d.State == lh.DeviceEnrolled }

// NewDevice is a device to be claimed.
type NewDevice struct {
	Serial     string        `json:"serial" minLength:"1" maxLength:"64"`
	ClaimCode  string        `json:"claim_code" minLength:"1" maxLength:"64" example:"7K2M-9QXD-4HTB-0RNV-6PWE"`
	Name       string        `json:"name" minLength:"1" maxLength:"200"`
	LocationID lh.LocationID `json:"location_id,omitempty" maxLength:"40"`
	MaxOffline int           `json:"max_offline,omitempty" minimum:"10" maximum:"31536000" default:"3600"`
	Attributes lh.Attributes `json:"attributes,omitempty" nullable:"false"`
	Note       string        `json:"note,omitempty" maxLength:"4000"`
}

func (n NewDevice) device() lh.Device {
	return lh.Device{Name: n.Name, Location: n.LocationID, MaxOffline: n.MaxOffline, Attributes: n.Attributes, Note: n.Note}
}

type claimDeviceInput struct {
	ProjectPath
	Body NewDevice
}

func claimDevice(a *API, ctx context.Context, sc store.Scope, in *claimDeviceInput) (*one[Device], error) {
	d, err := a.Fleet.Claim(ctx, sc, in.Body.Serial, in.Body.ClaimCode, in.Body.device())
	if err != nil {
		return nil, err
	}
	return a.deviceAnswer(ctx, sc, d)
}

type DevicePath struct {
	ProjectPath
	Device lh.DeviceID `path:"device" maxLength:"40"`
}

func getDevice(a *API, ctx context.Context, sc store.Scope, in *DevicePath) (*one[Device], error) {
	d, err := a.DB.Device(ctx, sc, in.Device)
	if err != nil {
		return nil, err
	}
	return a.deviceAnswer(ctx, sc, d)
}

type changeDeviceInput struct {
	DevicePath
	Body struct {
		Name       *string        `json:"name,omitempty" minLength:"1" maxLength:"200"`
		LocationID *lh.LocationID `json:"location_id,omitempty" maxLength:"40" doc:"Empty takes it from its location"`
		MaxOffline *int           `json:"max_offline,omitempty" minimum:"10" maximum:"31536000"`

		Attributes *lh.Attributes `json:"attributes,omitempty" nullable:"false" doc:"Takes the place of all there were"`
		Note       *string        `json:"note,omitempty" maxLength:"4000"`
	}
}

func changeDevice(a *API, ctx context.Context, sc store.Scope, in *changeDeviceInput) (*one[Device], error) {
	d, err := a.DB.Device(ctx, sc, in.Device)
	if err != nil {
		return nil, err
	}
	set(&d.Name, in.Body.Name)
	set(&d.Location, in.Body.LocationID)
	set(&d.MaxOffline, in.Body.MaxOffline)
	set(&d.Attributes, in.Body.Attributes)
	set(&d.Note, in.Body.Note)
	if err := a.DB.ChangeDevice(ctx, sc, d); err != nil {
		return nil, err
	}
	return a.deviceAnswer(ctx, sc, d)
}

func revokeDevice(a *API, ctx context.Context, sc store.Scope, in *DevicePath) (*one[Device], error) {
	if err := a.Fleet.Revoke(ctx, sc, in.Device); err != nil {
		return nil, err
	}
	return getDevice(a, ctx, sc, in)
}

type deleteDeviceInput struct {
	DevicePath
	Series string `query:"series" enum:"keep,delete" default:"keep" doc:"What becomes of its elements: they stay with their series, fed by none; or go with them, for good, which only owners may"`
}

// deleteDevice removes a device that is revoked.
func deleteDevice(a *API, ctx context.Context, sc store.Scope, in *deleteDeviceInput) (*struct{}, error) {
	d, err := a.DB.Device(ctx, sc, in.Device)
	if err != nil {
		return nil, err
	}
	if d.State != lh.DeviceRevoked {
		return nil, lh.Errorf(lh.Conflict, "the device is not revoked; revoke it first, so that nothing it still sends is lost")
	}
	if in.Series == "delete" {
		es, err := a.DB.DeviceElements(ctx, sc, d.ID)
		if err != nil {
			return nil, err
		}
		for _, e := range es { // all may go before one does
			if err := a.DB.MayDeleteElement(ctx, sc, e.ID); err != nil {
				return nil, err
			}
		}
		for _, e := range es {
			if err := a.deleteElement(ctx, sc, e); err != nil {
				return nil, err
			}
		}
	}
	if err := a.DB.DeleteDevice(ctx, sc, d.ID); err != nil {
		return nil, err
	}
	a.Fleet.Cut(d.ID)
	return nil, nil
}
