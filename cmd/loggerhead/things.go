package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

// Locations, devices and elements from the command line.

type locationCommand struct {
	List   locationListCommand   `cmd:"" help:"List the locations."`
	Create locationCreateCommand `cmd:"" help:"Add a location."`
	Change locationChangeCommand `cmd:"" help:"Change a location; what is not given stays."`
	Delete locationDeleteCommand `cmd:"" help:"Delete a location."`
	Import importLocations       `cmd:"" help:"Add many locations from a table or an array, all or none."`
}

var locationColumns = []column[client.Location]{
	{"id", func(l client.Location) string { return l.ID }},
	{"name", func(l client.Location) string { return l.Name }},
	{"zone", func(l client.Location) string { return l.Zone }},
	{"latitude", func(l client.Location) string { return number(l.Latitude) }},
	{"longitude", func(l client.Location) string { return number(l.Longitude) }},
	{"note", func(l client.Location) string { return l.Note }},
}

type locationListCommand struct {
	projectFlags
	outputFlags
}

func (l locationListCommand) Run(ctx context.Context, p program) error {
	return l.inProject(ctx, p, func(c *client.Client, project string) error {
		all, err := c.Locations(ctx, project)
		if err != nil {
			return err
		}
		return show(p, l.outputFlags, all, locationColumns...)
	})
}

type locationCreateCommand struct {
	projectFlags
	outputFlags
	Name       string            `arg:"" help:"Its name."`
	Zone       string            `help:"Its time zone [the project's]."`
	Latitude   float64           `help:"Degrees, WGS 84."`
	Longitude  float64           `help:"Degrees, WGS 84."`
	Attributes map[string]string `name:"attribute" short:"a" help:"A key and value of your own; repeat it for more." placeholder:"KEY=VALUE"`
	Note       string            `help:"A note."`
}

func (n locationCreateCommand) Run(ctx context.Context, p program) error {
	return n.inProject(ctx, p, func(c *client.Client, project string) error {
		made, err := c.CreateLocation(ctx, project, client.Location{Name: n.Name, Zone: n.Zone, Latitude: n.Latitude, Longitude: n.Longitude,
			Attributes: n.Attributes, Note: n.Note})
		if err != nil {
			return err
		}
		return showOne(p, n.outputFlags, made, locationColumns...)
	})
}

type locationChangeCommand struct {
	projectFlags
	outputFlags
	Location  string   `arg:"" help:"The location, by id or name."`
	Name      *string  `help:"New name."`
	Zone      *string  `help:"New time zone."`
	Latitude  *float64 `help:"Degrees, WGS 84."`
	Longitude *float64 `help:"Degrees, WGS 84."`
	Note      *string  `help:"New note."`
}

func (g locationChangeCommand) Run(ctx context.Context, p program) error {
	return g.inProject(ctx, p, func(c *client.Client, project string) error {
		id, err := locationID(ctx, c, project, g.Location)
		if err != nil {
			return err
		}
		got, err := c.ChangeLocation(ctx, project, id, client.LocationChange{Name: g.Name, Zone: g.Zone, Latitude: g.Latitude, Longitude: g.Longitude, Note: g.Note})
		if err != nil {
			return err
		}
		return showOne(p, g.outputFlags, got, locationColumns...)
	})
}

type locationDeleteCommand struct {
	projectFlags
	Location string `arg:"" help:"The location, by id or name."`
	MoveTo   string `help:"Move what stands there to this location first, by id or name; or “nowhere”. Without it nothing may stand there." placeholder:"LOCATION"`
}

func (d locationDeleteCommand) Run(ctx context.Context, p program) error {
	return d.inProject(ctx, p, func(c *client.Client, project string) error {
		id, err := locationID(ctx, c, project, d.Location)
		if err != nil {
			return err
		}
		to := d.MoveTo
		if to != "" && to != "nowhere" {
			if to, err = locationID(ctx, c, project, to); err != nil {
				return err
			}
		}
		return c.DeleteLocation(ctx, project, id, to)
	})
}

// oneOf finds a thing by its id or its name, whatever the case. A name that several have is refused with their ids.
func oneOf[T any](what, wanted string, all []T, id, name func(T) string) (T, error) {
	var none T
	var hits []T
	for _, t := range all {
		if id(t) == wanted {
			return t, nil
		}
		if strings.EqualFold(name(t), wanted) {
			hits = append(hits, t)
		}
	}
	switch len(hits) {
	case 0:
		return none, lh.Errorf(lh.NotFound, "there is no %s %q; loggerhead %s list shows them", what, wanted, what)
	case 1:
		return hits[0], nil
	}
	ids := make([]string, len(hits))
	for i, h := range hits {
		ids[i] = id(h)
	}
	return none, lh.Errorf(lh.Invalid, "%d %ss are called %q: give one of %s", len(hits), what, wanted, strings.Join(ids, ", "))
}

func locationID(ctx context.Context, c *client.Client, project, wanted string) (string, error) {
	all, err := c.Locations(ctx, project)
	if err != nil {
		return "", err
	}
	l, err := oneOf("location", wanted, all, func(l client.Location) string { return l.ID }, func(l client.Location) string { return l.Name })
	return l.ID, err
}

func deviceID(ctx context.Context, c *client.Client, project, wanted string) (string, error) {
	all, err := c.Devices(ctx, project)
	if err != nil {
		return "", err
	}
	for _, d := range all {
		if d.Serial == wanted {
			return d.ID, nil
		}
	}
	d, err := oneOf("device", wanted, all, func(d client.Device) string { return d.ID }, func(d client.Device) string { return d.Name })
	return d.ID, err
}

type deviceCommand struct {
	List   deviceListCommand   `cmd:"" help:"List the devices."`
	Show   deviceShowCommand   `cmd:"" help:"Show a device."`
	Claim  deviceClaimCommand  `cmd:"" help:"Claim a device by the serial and code on its label."`
	Change deviceChangeCommand `cmd:"" help:"Change a device; what is not given stays."`
	Revoke deviceRevokeCommand `cmd:"" help:"Bar a device at once."`
	Delete deviceDeleteCommand `cmd:"" help:"Delete a device that is revoked."`
	Import importDevices       `cmd:"" help:"Claim many devices from a table or an array, all or none."`
}

var deviceColumns = []column[client.Device]{
	{"id", func(d client.Device) string { return d.ID }},
	{"name", func(d client.Device) string { return d.Name }},
	{"serial", func(d client.Device) string { return d.Serial }},
	{"state", func(d client.Device) string { return d.State }},
	{"online", func(d client.Device) string { return yesNo(d.Online) }},
	{"last_seen", func(d client.Device) string { return moment(d.LastSeen) }},
	{"battery", func(d client.Device) string {
		if d.Battery == nil {
			return ""
		}
		return number(d.Battery.Value) + " " + d.Battery.Unit
	}},
	{"firmware", func(d client.Device) string { return d.Firmware }},
	{"elements", func(d client.Device) string { return strconv.Itoa(d.Elements) }},
}

type deviceListCommand struct {
	projectFlags
	outputFlags
}

func (l deviceListCommand) Run(ctx context.Context, p program) error {
	return l.inProject(ctx, p, func(c *client.Client, project string) error {
		all, err := c.Devices(ctx, project)
		if err != nil {
			return err
		}
		return show(p, l.outputFlags, all, deviceColumns...)
	})
}

// deviceArg names a device.
type deviceArg struct {
	projectFlags
	Device string `arg:"" help:"The device, by id, serial or name."`
}

func (d deviceArg) with(ctx context.Context, p program, fn func(c *client.Client, project, device string) error) error {
	return d.inProject(ctx, p, func(c *client.Client, project string) error {
		id, err := deviceID(ctx, c, project, d.Device)
		if err != nil {
			return err
		}
		return fn(c, project, id)
	})
}

type deviceShowCommand struct {
	deviceArg
	outputFlags
}

func (s deviceShowCommand) Run(ctx context.Context, p program) error {
	return s.with(ctx, p, func(c *client.Client, project, device string) error {
		d, err := c.Device(ctx, project, device)
		if err != nil {
			return err
		}
		return showOne(p, s.outputFlags, d, append(deviceColumns,
			column[client.Device]{"hardware", func(d client.Device) string { return d.Hardware }},
			column[client.Device]{"location", func(d client.Device) string { return d.LocationID }},
			column[client.Device]{"clock_ahead_ms", func(d client.Device) string { return strconv.FormatInt(d.ClockOffset, 10) }},
			column[client.Device]{"note", func(d client.Device) string { return d.Note }})...)
	})
}

type deviceClaimCommand struct {
	projectFlags
	outputFlags
	Serial     string `arg:"" help:"Serial on its label."`
	Code       string `arg:"" help:"Claim code on its label."`
	Name       string `help:"Its name [the serial]."`
	Location   string `help:"Where it stands, by id or name."`
	MaxOffline int    `help:"Seconds of silence after which it counts as offline." default:"3600"`
}

func (m deviceClaimCommand) Run(ctx context.Context, p program) error {
	return m.inProject(ctx, p, func(c *client.Client, project string) error {
		claim := client.Claim{Serial: m.Serial, ClaimCode: m.Code, Name: m.Name, MaxOffline: m.MaxOffline}
		if claim.Name == "" {
			claim.Name = m.Serial
		}
		if m.Location != "" {
			var err error
			if claim.LocationID, err = locationID(ctx, c, project, m.Location); err != nil {
				return err
			}
		}
		d, err := c.ClaimDevice(ctx, project, claim)
		if err != nil {
			return err
		}
		return showOne(p, m.outputFlags, d, deviceColumns...)
	})
}

type deviceChangeCommand struct {
	deviceArg
	outputFlags
	Name       *string `help:"New name."`
	Location   *string `help:"Where it stands, by id or name; empty takes it from its location."`
	MaxOffline *int    `help:"Seconds of silence after which it counts as offline."`
	Note       *string `help:"New note."`
}

func (g deviceChangeCommand) Run(ctx context.Context, p program) error {
	return g.with(ctx, p, func(c *client.Client, project, device string) error {
		change := client.DeviceChange{Name: g.Name, MaxOffline: g.MaxOffline, Note: g.Note, LocationID: g.Location}
		if g.Location != nil && *g.Location != "" {
			id, err := locationID(ctx, c, project, *g.Location)
			if err != nil {
				return err
			}
			change.LocationID = &id
		}
		d, err := c.ChangeDevice(ctx, project, device, change)
		if err != nil {
			return err
		}
		return showOne(p, g.outputFlags, d, deviceColumns...)
	})
}

type deviceRevokeCommand struct{ deviceArg }

func (r deviceRevokeCommand) Run(ctx context.Context, p program) error {
	return r.with(ctx, p, func(c *client.Client, project, device string) error { return c.RevokeDevice(ctx, project, device) })
}

type deviceDeleteCommand struct {
	deviceArg
	WithSeries bool `help:"Delete what it measured, too, for good; else its elements stay, fed by no device."`
}

func (d deviceDeleteCommand) Run(ctx context.Context, p program) error {
	return d.with(ctx, p, func(c *client.Client, project, device string) error {
		return c.DeleteDevice(ctx, project, device, d.WithSeries)
	})
}

type elementCommand struct {
	List   elementListCommand   `cmd:"" help:"List the elements."`
	Create elementCreateCommand `cmd:"" help:"Add an element that no device feeds."`
	Change elementChangeCommand `cmd:"" help:"Change an element; what is not given stays."`
	Delete elementDeleteCommand `cmd:"" help:"Delete an element with its series, for good."`
	Import importElements       `cmd:"" help:"Add many elements from a table or an array, all or none."`
}

var elementColumns = []column[client.Element]{
	{"id", func(e client.Element) string { return e.ID }},
	{"name", func(e client.Element) string { return e.Name }},
	{"quantity", func(e client.Element) string { return e.Quantity }},
	{"unit", func(e client.Element) string { return e.Unit }},
	{"device_id", func(e client.Element) string { return e.DeviceID }},
	{"channel", func(e client.Element) string { return e.Channel }},
	{"location_id", func(e client.Element) string { return e.LocationID }},
}

type elementListCommand struct {
	projectFlags
	outputFlags
	Device string `help:"Only those of this device, by id, serial or name."`
}

func (l elementListCommand) Run(ctx context.Context, p program) error {
	return l.inProject(ctx, p, func(c *client.Client, project string) error {
		device := ""
		if l.Device != "" {
			var err error
			if device, err = deviceID(ctx, c, project, l.Device); err != nil {
				return err
			}
		}
		all, err := c.Elements(ctx, project, device)
		if err != nil {
			return err
		}
		return show(p, l.outputFlags, all, elementColumns...)
	})
}

type elementCreateCommand struct {
	projectFlags
	outputFlags
	Name     string `arg:"" help:"Its name."`
	Unit     string `help:"UCUM code, such as m, Cel, m3/s."`
	Quantity string `help:"What it is, such as water_level."`
	Location string `help:"Where it stands, by id or name."`
}

func (n elementCreateCommand) Run(ctx context.Context, p program) error {
	return n.inProject(ctx, p, func(c *client.Client, project string) error {
		e := client.NewElement{Name: n.Name, Unit: n.Unit, Quantity: n.Quantity}
		if n.Location != "" {
			var err error
			if e.LocationID, err = locationID(ctx, c, project, n.Location); err != nil {
				return err
			}
		}
		made, err := c.CreateElement(ctx, project, e)
		if err != nil {
			return err
		}
		return showOne(p, n.outputFlags, made, elementColumns...)
	})
}

type elementChangeCommand struct {
	projectFlags
	outputFlags
	Element  string  `arg:"" help:"The element, by id or name."`
	Name     *string `help:"New name."`
	Unit     *string `help:"New unit: a UCUM code. Values are not converted."`
	Quantity *string `help:"New quantity."`
	Color    *string `help:"New colour, such as #2b7bba."`
	Digits   *int    `help:"Digits after the decimal point when shown."`
	Note     *string `help:"New note."`
}

func (g elementChangeCommand) Run(ctx context.Context, p program) error {
	return g.inProject(ctx, p, func(c *client.Client, project string) error {
		es, err := findElements(ctx, c, project, []string{g.Element})
		if err != nil {
			return err
		}
		got, err := c.ChangeElement(ctx, project, es[0].ID, client.ElementChange{Name: g.Name, Unit: g.Unit, Quantity: g.Quantity, Color: g.Color, Digits: g.Digits, Note: g.Note})
		if err != nil {
			return err
		}
		return showOne(p, g.outputFlags, got, elementColumns...)
	})
}

type elementDeleteCommand struct {
	projectFlags
	Element string `arg:"" help:"The element, by id."`
}

func (d elementDeleteCommand) Run(ctx context.Context, p program) error {
	return d.inProject(ctx, p, func(c *client.Client, project string) error { return c.DeleteElement(ctx, project, d.Element) })
}

// importFlags are those of a command that makes many things at once.
type importFlags struct {
	projectFlags
	outputFlags
	File   string `arg:"" help:"A table (.csv, with a head) or an array (.json); - is a table on standard input." placeholder:"FILE"`
	DryRun bool   `help:"Check every row and make nothing."`
}

type (
	importLocations struct{ importFlags }
	importDevices   struct{ importFlags }
	importElements  struct{ importFlags }
)

func (i importLocations) Run(ctx context.Context, p program) error { return i.run(ctx, p, "locations") }
func (i importDevices) Run(ctx context.Context, p program) error   { return i.run(ctx, p, "devices") }
func (i importElements) Run(ctx context.Context, p program) error  { return i.run(ctx, p, "elements") }

func (i importFlags) run(ctx context.Context, p program, kind string) error {
	var rows io.Reader = p.stdin
	contentType := "text/csv"
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return &lh.Error{Code: lh.Invalid, Message: err.Error()}
		}
		defer f.Close() // read only
		rows = f
		if strings.EqualFold(filepath.Ext(i.File), ".json") {
			contentType = "application/json"
		}
	}
	return i.inProject(ctx, p, func(c *client.Client, project string) error {
		done, err := c.CreateMany(ctx, project, kind, contentType, rows, i.DryRun)
		if e, ok := errors.AsType[*client.Error](err); ok {
			for _, r := range e.Errors {
				fmt.Fprintf(p.stderr, "row %d %s: %s\n", r.Row, printable(r.Location), printable(r.Message))
			}
		}
		if err != nil {
			return err
		}
		if i.Output != "table" {
			return showJSON(p, done)
		}
		if done.DryRun {
			fmt.Fprintf(p.stdout, "%d rows are good; nothing was made\n", done.Rows)
			return nil
		}
		fmt.Fprintf(p.stdout, "%d %s were made\n", len(done.Items), kind)
		return nil
	})
}
