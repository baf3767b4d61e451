package api

import (
	"context"
	"slices"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Element is an element in answers.
type Element struct {
	ID         lh.ElementID  `json:"id"`
	Name       string        `json:"name"`
	DeviceID   lh.DeviceID   `json:"device_id" doc:"The device that feeds it; empty for none"`
	LocationID lh.LocationID `json:"location_id"`
	Channel    string        `json:"channel" doc:"Port and quantity on the device" example:"1/water_level"`
	Quantity   string        `json:"quantity" example:"water_level"`
	Unit       string        `json:"unit" doc:"UCUM code" example:"m"`
	Color      string        `json:"color" example:"#2b7bba"`
	Digits     int           `json:"digits" doc:"Digits after the decimal point when shown"`
	IntervalMs int64         `json:"interval_ms" doc:"Expected time between samples; 0 is unknown"`
	Meaning    lh.Meaning    `json:"meaning" doc:"What the time of a sample stands for" enum:"instantaneous,preceding_mean,preceding_sum,preceding_min,preceding_max,succeeding_mean,counter"`
	Created    lh.Millis     `json:"created"`

	Attributes lh.Attributes `json:"attributes" nullable:"false" doc:"Keys and values of your own; lists filter by them"`
	Note       string        `json:"note"`
}

func elementOf(e lh.Element) Element {
	return Element{e.ID, e.Name, e.Device, e.Location, e.Channel, e.Quantity, e.Unit, e.Color, e.Digits, e.Interval, e.Meaning, e.Created,
		shownAttributes(e.Attributes), e.Note}
}

type listElementsInput struct {
	ProjectPath
	Page
	Search
	Attributed
	Quantity   string        `query:"quantity" maxLength:"64"`
	Unit       string        `query:"unit" maxLength:"32"`
	Channel    string        `query:"channel" maxLength:"200"`
	Meaning    lh.Meaning    `query:"meaning" enum:"instantaneous,preceding_mean,preceding_sum,preceding_min,preceding_max,succeeding_mean,counter"`
	DeviceID   lh.DeviceID   `query:"device_id" maxLength:"40"`
	LocationID lh.LocationID `query:"location_id" maxLength:"40"`
}

func listElements(a *API, ctx context.Context, sc store.Scope, in *listElementsInput) (*list[Element], error) {
	es, err := a.DB.Elements(ctx, sc)
	if err != nil {
		return nil, err
	}
	has, err := in.wanted()
	if err != nil {
		return nil, err
	}
	es = slices.DeleteFunc(es, func(e lh.Element) bool {
		return !in.matches(e.Name, e.Channel) || !has(e.Attributes) || in.DeviceID != "" && e.Device != in.DeviceID || in.LocationID != "" && e.Location != in.LocationID ||
			in.Quantity != "" && e.Quantity != in.Quantity || in.Unit != "" && e.Unit != in.Unit || in.Channel != "" && e.Channel != in.Channel ||
			in.Meaning != "" && e.Meaning != in.Meaning
	})
	p, err := paged(a, ctx, in.Page, &elementSheet, es)
	if err != nil {
		return nil, err
	}
	return pageEach(p, elementOf), nil
}

var elementSheet = sheet[lh.Element]{usual: "created", id: func(e lh.Element) string { return string(e.ID) }, by: map[string]func(lh.Element) sortKey{
	"created":  func(e lh.Element) sortKey { return byNumber(e.Created) },
	"name":     func(e lh.Element) sortKey { return byText(e.Name) },
	"channel":  func(e lh.Element) sortKey { return byText(e.Channel) },
	"quantity": func(e lh.Element) sortKey { return byText(e.Quantity) },
}}

// NewElement is an element to be made.
type NewElement struct {
	Name       string        `json:"name" minLength:"1" maxLength:"200"`
	LocationID lh.LocationID `json:"location_id,omitempty" maxLength:"40"`
	Quantity   string        `json:"quantity,omitempty" maxLength:"64"`
	Unit       string        `json:"unit,omitempty" maxLength:"32"`
	Color      string        `json:"color,omitempty" pattern:"^#[0-9a-fA-F]{6}$" default:"#3b75af"`
	Digits     int           `json:"digits,omitempty" minimum:"0" maximum:"12" default:"2"`
	IntervalMs int64         `json:"interval_ms,omitempty" minimum:"0" maximum:"31536000000"`
	Meaning    lh.Meaning    `json:"meaning,omitempty" default:"instantaneous" enum:"instantaneous,preceding_mean,preceding_sum,preceding_min,preceding_max,succeeding_mean,counter"`
	Attributes lh.Attributes `json:"attributes,omitempty" nullable:"false"`
	Note       string        `json:"note,omitempty" maxLength:"4000"`
}

func (n NewElement) element() lh.Element {
	return lh.Element{Name: n.Name, Location: n.LocationID, Quantity: n.Quantity, Unit: n.Unit, Color: n.Color, Digits: n.Digits,
		Interval: n.IntervalMs, Meaning: n.Meaning, Attributes: n.Attributes, Note: n.Note}
}

type createElementInput struct {
	ProjectPath
	Body NewElement
}

func createElement(a *API, ctx context.Context, sc store.Scope, in *createElementInput) (*one[Element], error) {
	e, err := a.DB.CreateElement(ctx, sc, in.Body.element())
	return &one[Element]{elementOf(e)}, err
}

type ElementPath struct {
	ProjectPath
	Element lh.ElementID `path:"element" maxLength:"40"`
}

func getElement(a *API, ctx context.Context, sc store.Scope, in *ElementPath) (*one[Element], error) {
	e, err := a.DB.Element(ctx, sc, in.Element)
	return &one[Element]{elementOf(e)}, err
}

type changeElementInput struct {
	ElementPath
	Body struct {
		Name     *string `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Quantity *string `json:"quantity,omitempty" maxLength:"64"`
		Unit     *string `json:"unit,omitempty" maxLength:"32"`
		Color    *string `json:"color,omitempty" pattern:"^#[0-9a-fA-F]{6}$"`
		Digits   *int    `json:"digits,omitempty" minimum:"0" maximum:"12"`

		DeviceID   *lh.DeviceID   `json:"device_id,omitempty" maxLength:"40" doc:"Device that feeds it from now on; empty takes it off its device, whose next samples go to a new element"`
		Channel    *string        `json:"channel,omitempty" minLength:"1" maxLength:"200" doc:"Port and quantity on the device"`
		LocationID *lh.LocationID `json:"location_id,omitempty" maxLength:"40" doc:"Where it stands, if no device feeds it; empty is nowhere"`
		Attributes *lh.Attributes `json:"attributes,omitempty" nullable:"false" doc:"Takes the place of all there were"`
		Note       *string        `json:"note,omitempty" maxLength:"4000"`
	}
}

func changeElement(a *API, ctx context.Context, sc store.Scope, in *changeElementInput) (*one[Element], error) {
	e, err := a.DB.Element(ctx, sc, in.Element)
	if err != nil {
		return nil, err
	}
	set(&e.Name, in.Body.Name)
	set(&e.Quantity, in.Body.Quantity)
	set(&e.Unit, in.Body.Unit)
	set(&e.Color, in.Body.Color)
	set(&e.Digits, in.Body.Digits)
	set(&e.Attributes, in.Body.Attributes)
	set(&e.Note, in.Body.Note)
	set(&e.Channel, in.Body.Channel)
	if in.Body.Channel != nil && e.Device == "" && in.Body.DeviceID == nil {
		return nil, lh.Errorf(lh.Invalid, "body.channel: no device feeds the element; say with device_id which one shall")
	}
	set(&e.Location, in.Body.LocationID)
	if in.Body.DeviceID != nil && *in.Body.DeviceID != e.Device {
		if e.Device = *in.Body.DeviceID; e.Device != "" {
			d, err := a.DB.Device(ctx, sc, e.Device)
			if err != nil {
				return nil, err
			}
			e.Location = d.Location
		}
	}
	if e.Device != "" && in.Body.LocationID != nil {
		d, err := a.DB.Device(ctx, sc, e.Device)
		if err != nil {
			return nil, err
		}
		if d.Location != *in.Body.LocationID {
			return nil, lh.Errorf(lh.Invalid, "body.location_id: an element stands where its device stands; move the device, or take the element off it")
		}
	}
	if err := a.DB.ChangeElement(ctx, sc, e); err != nil {
		return nil, err
	}
	if e.Device == "" {
		e.Channel = ""
	}
	return &one[Element]{elementOf(e)}, nil
}

// deleteElement removes an element with its series, for good.
func deleteElement(a *API, ctx context.Context, sc store.Scope, in *ElementPath) (*struct{}, error) {
	e, err := a.DB.Element(ctx, sc, in.Element)
	if err != nil {
		return nil, err
	}
	if err := a.DB.MayDeleteElement(ctx, sc, e.ID); err != nil {
		return nil, err
	}
	return nil, a.deleteElement(ctx, sc, e)
}

func (a *API) deleteElement(ctx context.Context, sc store.Scope, e lh.Element) error {
	// What has come is folded and goes first, so that it does not come back.
	if err := a.Series.Delete(ctx, sc, e, lh.MinMillis, lh.MaxMillis+1); err != nil {
		return err
	}
	return a.DB.DeleteElement(ctx, sc, e.ID)
}

// Latest is the newest sample of an element by its own time.
type Latest struct {
	ElementID lh.ElementID `json:"element_id"`
	Time      lh.Millis    `json:"time"`
	Value     float64      `json:"value"`
	Flag      lh.Flag      `json:"flag" doc:"QARTOD: 1 good, 2 not evaluated, 3 suspect, 4 bad, 9 missing"`
	Received  lh.Millis    `json:"received" doc:"When the hub stored it"`
}

type latestInput struct {
	ProjectPath
	DeviceID lh.DeviceID    `query:"device_id" maxLength:"40"`
	Elements []lh.ElementID `query:"elements" maxItems:"1000" doc:"Ids, by commas; none is all"`
}

func listLatest(a *API, ctx context.Context, sc store.Scope, in *latestInput) (*list[Latest], error) {
	ids := in.Elements
	if in.DeviceID != "" {
		es, err := a.DB.DeviceElements(ctx, sc, in.DeviceID)
		if err != nil {
			return nil, err
		}
		want := map[lh.ElementID]bool{}
		for _, id := range in.Elements {
			want[id] = true
		}
		ids = []lh.ElementID{}
		for _, e := range es {
			if len(want) == 0 || want[e.ID] {
				ids = append(ids, e.ID)
			}
		}
	}
	ls, err := a.DB.Latest(ctx, sc, ids)
	if err != nil {
		return nil, err
	}
	countSamples(ctx, len(ls))
	out := make([]Latest, len(ls))
	for i, l := range ls {
		out[i] = Latest{l.Element, l.Sample.Time, l.Sample.Value, l.Sample.Flag, l.Received}
	}
	return listOf(out), nil
}
