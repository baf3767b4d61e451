package demo

import (
	"context"
	"errors"
	"fmt"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/client"
)

// The demo's project.
const (
	projectName = "Skjern Å"
	projectZone = "Europe/Copenhagen"
)

// locations are two places on the Skjern Å, the largest river of Denmark by its flow: upstream at Borris, and in the
// meadows of its delta.
func locations() []client.Location {
	return []client.Location{
		{Name: "Borris Krog", Latitude: 55.9372, Longitude: 8.6486},
		{Name: "Skjern Enge", Latitude: 55.9155, Longitude: 8.4053},
	}
}

// makeSite makes the project and what is in it, through the REST API as its owner. What is there already stays.
func (d *demo) makeSite(ctx context.Context) error {
	projects, err := d.api.Projects(ctx)
	if err != nil {
		return fmt.Errorf("list projects: %w", err)
	}
	d.project = ""
	for _, p := range projects {
		if p.Name == projectName && p.Role == "owner" {
			d.project = p.ID
		}
	}
	if d.project == "" {
		p, err := d.api.CreateProject(ctx, projectName, projectZone)
		if err != nil {
			return fmt.Errorf("create project: %w", err)
		}
		d.project = p.ID
	}
	for _, l := range d.logins[1:] {
		if err := d.addMember(ctx, l); err != nil {
			return fmt.Errorf("add %s: %w", l.email, err)
		}
	}
	places, err := d.makeLocations(ctx)
	if err != nil {
		return err
	}
	return d.claim(ctx, places)
}

// addMember invites somebody who then accepts. Who is a member, or invited, already stays.
func (d *demo) addMember(ctx context.Context, l login) error {
	members, err := d.api.Members(ctx, d.project)
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.Email == l.email {
			return nil
		}
	}
	person, err := d.hub.logIn(ctx, l)
	if err != nil {
		return err
	}
	defer person.Close()
	if _, err := d.api.Invite(ctx, d.project, l.email, l.role); err != nil {
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Code != string(lh.Conflict) {
			return err
		}
	}
	offers, err := person.Offers(ctx)
	if err != nil {
		return err
	}
	for _, o := range offers {
		if o.ProjectID == d.project {
			_, err = person.AcceptInvitation(ctx, o.ID)
		}
	}
	return errors.Join(err, person.LogOut(ctx))
}

// makeLocations returns the ids of the demo's locations by name.
func (d *demo) makeLocations(ctx context.Context) (map[string]string, error) {
	have, err := d.api.Locations(ctx, d.project)
	if err != nil {
		return nil, fmt.Errorf("list locations: %w", err)
	}
	id := map[string]string{}
	for _, l := range have {
		id[l.Name] = l.ID
	}
	for _, l := range locations() {
		if id[l.Name] == "" {
			made, err := d.api.CreateLocation(ctx, d.project, l)
			if err != nil {
				return nil, fmt.Errorf("create location %s: %w", l.Name, err)
			}
			id[l.Name] = made.ID
		}
	}
	return id, nil
}

// claim claims the dataloggers that are not in the project yet, with the codes on their boxes.
func (d *demo) claim(ctx context.Context, places map[string]string) error {
	devices, err := d.api.Devices(ctx, d.project)
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	by := map[string]client.Device{}
	for _, v := range devices {
		by[v.Serial] = v
	}
	for _, l := range d.loggers {
		if v, ok := by[l.serial]; ok {
			l.device, l.name = v, v.Name // somebody may have renamed it
			continue
		}
		code, err := l.code()
		if err != nil {
			return fmt.Errorf("claim %s: %w", l.serial, err)
		}
		l.device, err = d.api.ClaimDevice(ctx, d.project, client.Claim{Serial: l.serial, ClaimCode: code, Name: l.name,
			LocationID: places[l.location], MaxOffline: l.maxOffline})
		if err != nil {
			return fmt.Errorf("claim %s: %w", l.serial, err)
		}
	}
	return nil
}
