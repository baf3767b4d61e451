package api

import (
	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// consibioMe answers who is asking: exactly one key. A service account shows as a user of its id and name.
func consibioMe(c *consibioCall) error {
	u := c.principal.User
	if c.principal.Kind != lh.ActorUser {
		u = lh.User{ID: lh.UserID(c.principal.Actor().ID), Name: c.principal.Service.Name, Created: c.principal.Service.Created}
	}
	out := consibioUser{FullName: u.Name, Email: u.Email, LastLogin: consibioTime(c.principal.Session.Created), EmailVerifiedAt: consibioTime(u.Created)}
	if u.Verified != 0 { // else they came by the operator, who vouches for the address
		out.EmailVerifiedAt = consibioTime(u.Verified)
	}
	out.Preferences.FavoriteProjects = []string{}
	return c.ok(map[lh.UserID]consibioUser{u.ID: out})
}

func (c *consibioCall) project(sc store.Scope) (consibioProject, error) {
	p, err := c.api.DB.Project(c.r.Context(), sc)
	if err != nil {
		return consibioProject{}, err
	}
	ms, err := c.api.DB.Members(c.r.Context(), sc)
	if err != nil {
		return consibioProject{}, err
	}
	out := consibioProject{Name: p.Name, Roles: map[string]lh.Role{}}
	for _, m := range ms {
		out.Roles[string(m.User)] = m.Role
	}
	return out, nil
}

func consibioProjects(c *consibioCall) error {
	gs, err := c.api.Access.Grants(c.r.Context(), c.principal)
	if err != nil {
		return err
	}
	out := map[lh.ProjectID]consibioProject{}
	for _, g := range gs {
		if !g.Scope.Allows(lh.PermRead) {
			continue
		}
		p, err := c.project(g.Scope)
		if lh.CodeOf(err) == lh.NotFound { // deleted meanwhile
			continue
		}
		if err != nil {
			return err
		}
		out[g.Scope.Project()] = p
	}
	return c.ok(out)
}

func consibioOneProject(c *consibioCall) error {
	p, err := c.project(c.scope)
	if err != nil {
		return err
	}
	return c.ok(map[lh.ProjectID]consibioProject{c.scope.Project(): p})
}

// deviceList answers with devices; version is what stands for their versions.
func deviceList[V any](c *consibioCall, ds []lh.Device, es []lh.Element, version V) error {
	out := map[lh.DeviceID]consibioDevice[V]{}
	for _, d := range ds {
		out[d.ID] = consibioDeviceOf(d, es, version)
	}
	return c.ok(out)
}

func (c *consibioCall) devices() ([]lh.Device, []lh.Element, error) {
	ds, err := c.api.DB.Devices(c.r.Context(), c.scope)
	if err != nil {
		return nil, nil, err
	}
	es, err := c.api.DB.Elements(c.r.Context(), c.scope)
	return ds, es, err
}

func consibioDevices(c *consibioCall) error {
	ds, es, err := c.devices()
	if err != nil {
		return err
	}
	return deviceList(c, ds, es, 0)
}

// consibioDevicesV1 is the same with versions as text: a client in C# reads them so.
func consibioDevicesV1(c *consibioCall) error {
	ds, es, err := c.devices()
	if err != nil {
		return err
	}
	return deviceList(c, ds, es, "0")
}

func consibioOneDevice(c *consibioCall) error {
	d, err := c.api.DB.Device(c.r.Context(), c.scope, lh.DeviceID(c.path["device"]))
	if err != nil {
		return err
	}
	es, err := c.api.DB.DeviceElements(c.r.Context(), c.scope, d.ID)
	if err != nil {
		return err
	}
	return deviceList(c, []lh.Device{d}, es, 0)
}

// elements answers with elements and what they last measured; ids is nil for all.
func (c *consibioCall) elements(es []lh.Element, ids []lh.ElementID) error {
	ds, err := c.api.DB.Devices(c.r.Context(), c.scope)
	if err != nil {
		return err
	}
	timeout := map[lh.DeviceID]int{}
	for _, d := range ds {
		timeout[d.ID] = d.MaxOffline
	}
	ls, err := c.api.DB.Latest(c.r.Context(), c.scope, ids)
	if err != nil {
		return err
	}
	latest := map[lh.ElementID]*lh.Latest{}
	for i := range ls {
		latest[ls[i].Element] = &ls[i]
	}
	out := map[lh.ElementID]consibioElement{}
	for _, e := range es {
		out[e.ID] = consibioElementOf(e, timeout[e.Device], latest[e.ID])
	}
	return c.ok(out)
}

func consibioElements(c *consibioCall) error {
	es, err := c.api.DB.Elements(c.r.Context(), c.scope)
	if err != nil {
		return err
	}
	return c.elements(es, nil)
}

func consibioOneElement(c *consibioCall) error {
	e, err := c.api.DB.Element(c.r.Context(), c.scope, lh.ElementID(c.path["element"]))
	if err != nil {
		return err
	}
	return c.elements([]lh.Element{e}, []lh.ElementID{e.ID})
}

// consibioValueV1 answers with an element's newest value; an element without one has no data.
func consibioValueV1(c *consibioCall) error {
	e, err := c.api.DB.Element(c.r.Context(), c.scope, lh.ElementID(c.query.get("element_id")))
	if err != nil {
		return err
	}
	ls, err := c.api.DB.Latest(c.r.Context(), c.scope, []lh.ElementID{e.ID})
	if err != nil {
		return err
	}
	if len(ls) == 0 {
		return lh.Errorf(lh.NotFound, "this element has no value yet")
	}
	return c.ok(consibioReading{consibioNumber(ls[0].Sample.Value), consibioTime(ls[0].Sample.Time)})
}
