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
}

func elementOf(e lh.Element) Element {
	return Element{e.ID, e.Name, e.Device, e.Location, e.Channel, e.Quantity, e.Unit, e.Color, e.Digits, e.Interval, e.Meaning, e.Created}
}

type listElementsInput struct {
	ProjectPath
	Page
	Search
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
	es = slices.DeleteFunc(es, func(e lh.Element) bool {
		return !in.matches(e.Name, e.Channel) || in.DeviceID != "" && e.Device != in.DeviceID || in.LocationID != "" && e.Location != in.LocationID ||
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

type createElementInput struct {
	ProjectPath
	Body struct {
		Name       string        `json:"name" minLength:"1" maxLength:"200"`
		LocationID lh.LocationID `json:"location_id,omitempty" maxLength:"40"`
		Quantity   string        `json:"quantity,omitempty" maxLength:"64"`
		Unit       string        `json:"unit,omitempty" maxLength:"32"`
		Color      string        `json:"color,omitempty" pattern:"^#[0-9a-fA-F]{6}$" default:"#3b75af"`
		Digits     int           `json:"digits,omitempty" minimum:"0" maximum:"12" default:"2"`
		IntervalMs int64         `json:"interval_ms,omitempty" minimum:"0" maximum:"31536000000"`
		Meaning    lh.Meaning    `json:"meaning,omitempty" default:"instantaneous" enum:"instantaneous,preceding_mean,preceding_sum,preceding_min,preceding_max,succeeding_mean,counter"`
	}
}

func createElement(a *API, ctx context.Context, sc store.Scope, in *createElementInput) (*one[Element], error) {
	b := in.Body
	e, err := a.DB.CreateElement(ctx, sc, lh.Element{Name: b.Name, Location: b.LocationID, Quantity: b.Quantity, Unit: b.Unit,
		Color: b.Color, Digits: b.Digits, Interval: b.IntervalMs, Meaning: b.Meaning})
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
	if err := a.DB.ChangeElement(ctx, sc, e); err != nil {
		return nil, err
	}
	return &one[Element]{elementOf(e)}, nil
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
	out := make([]Latest, len(ls))
	for i, l := range ls {
		out[i] = Latest{l.Element, l.Sample.Time, l.Sample.Value, l.Sample.Flag, l.Received}
	}
	return listOf(out), nil
}
