package api

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// ServiceAccount is a service account in answers.
type ServiceAccount struct {
	ID        lh.ServiceID    `json:"id" doc:"Also its client id for OAuth 2.0"`
	Name      string          `json:"name"`
	Role      lh.Role         `json:"role" enum:"viewer,editor,administrator"`
	Locations []lh.LocationID `json:"locations" nullable:"false" doc:"None is the whole project"`
	Networks  []string        `json:"networks" nullable:"false" doc:"From which it may ask; none is from everywhere"`
	Expires   lh.Millis       `json:"expires" doc:"0 is never"`
	Enabled   bool            `json:"enabled"`
	Created   lh.Millis       `json:"created"`
}

func serviceOf(s lh.ServiceAccount) ServiceAccount {
	return ServiceAccount{s.ID, s.Name, s.Role, nonNil(s.Locations), networkTexts(s.Networks), s.Expires, s.Enabled, s.Created}
}

// nonNil makes an empty list of none, so that JSON shows a list.
func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func networkTexts(ns []netip.Prefix) []string {
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = n.String()
	}
	return out
}

// networksOf reads networks, or single addresses.
func networksOf(texts []string) ([]netip.Prefix, error) {
	ns := make([]netip.Prefix, 0, len(texts))
	for _, t := range texts {
		n, err := netip.ParsePrefix(t)
		if err != nil {
			a, err := netip.ParseAddr(t)
			if err != nil || a.Zone() != "" {
				return nil, lh.Errorf(lh.Invalid, "%q is no network, such as 192.0.2.0/24 or 2001:db8::/32", t)
			}
			a = a.Unmap()
			n = netip.PrefixFrom(a, a.BitLen())
		}
		ns = append(ns, n)
	}
	return ns, nil
}

type listServicesInput struct {
	ProjectPath
	Page
	Search
	Role lh.Role `query:"role" enum:"viewer,editor,administrator"`
}

var serviceSheet = sheet[lh.ServiceAccount]{usual: "created", id: func(s lh.ServiceAccount) string { return string(s.ID) }, by: map[string]func(lh.ServiceAccount) sortKey{
	"created": func(s lh.ServiceAccount) sortKey { return byNumber(s.Created) },
	"expires": func(s lh.ServiceAccount) sortKey { return byNumber(s.Expires) },
	"name":    func(s lh.ServiceAccount) sortKey { return byText(s.Name) },
	"role":    func(s lh.ServiceAccount) sortKey { return byText(s.Role) },
}}

func listServices(a *API, ctx context.Context, sc store.Scope, in *listServicesInput) (*list[ServiceAccount], error) {
	ss, err := a.DB.ServiceAccounts(ctx, sc)
	if err != nil {
		return nil, err
	}
	ss = slices.DeleteFunc(ss, func(s lh.ServiceAccount) bool { return !in.matches(s.Name) || in.Role != "" && s.Role != in.Role })
	p, err := paged(a, ctx, in.Page, &serviceSheet, ss)
	if err != nil {
		return nil, err
	}
	return pageEach(p, serviceOf), nil
}

type createServiceInput struct {
	ProjectPath
	Body struct {
		Name      string          `json:"name" minLength:"1" maxLength:"200" example:"Nightly export"`
		Role      lh.Role         `json:"role" enum:"viewer,editor,administrator" doc:"At most your own, and never owner"`
		Locations []lh.LocationID `json:"locations,omitempty" maxItems:"1000" doc:"None is the whole project; an administrator is always of the whole"`
		Networks  []string        `json:"networks,omitempty" maxItems:"50" doc:"From which it may ask; none is from everywhere" example:"[\"192.0.2.0/24\",\"2001:db8::/32\"]"`
		Expires   lh.Millis       `json:"expires,omitempty" minimum:"0" doc:"0 is never"`
		Enabled   *bool           `json:"enabled,omitempty" doc:"True unless you say otherwise"`
	}
}

func createService(a *API, ctx context.Context, sc store.Scope, in *createServiceInput) (*one[ServiceAccount], error) {
	b := in.Body
	ns, err := networksOf(b.Networks)
	if err != nil {
		return nil, err
	}
	s, err := a.DB.CreateServiceAccount(ctx, sc, lh.ServiceAccount{Name: b.Name, Role: b.Role, Locations: b.Locations, Networks: ns,
		Expires: b.Expires, Enabled: b.Enabled == nil || *b.Enabled})
	return &one[ServiceAccount]{serviceOf(s)}, err
}

// ServicePath is the part of an input that names a service account.
type ServicePath struct {
	ProjectPath
	Account lh.ServiceID `path:"account" maxLength:"40"`
}

// program returns the id where it is one of a service account, and else what names nothing: keys of both are of one kind.
func (p ServicePath) program() string {
	if !p.Account.Valid() {
		return ""
	}
	return string(p.Account)
}

func getService(a *API, ctx context.Context, sc store.Scope, in *ServicePath) (*one[ServiceAccount], error) {
	s, err := a.DB.ServiceAccount(ctx, sc, in.Account)
	return &one[ServiceAccount]{serviceOf(s)}, err
}

type changeServiceInput struct {
	ServicePath
	Body struct {
		Name      *string          `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Role      *lh.Role         `json:"role,omitempty" enum:"viewer,editor,administrator"`
		Locations *[]lh.LocationID `json:"locations,omitempty" maxItems:"1000"`
		Networks  *[]string        `json:"networks,omitempty" maxItems:"50"`
		Expires   *lh.Millis       `json:"expires,omitempty" minimum:"0"`
		Enabled   *bool            `json:"enabled,omitempty"`
	}
}

func changeService(a *API, ctx context.Context, sc store.Scope, in *changeServiceInput) (*one[ServiceAccount], error) {
	s, err := a.DB.ServiceAccount(ctx, sc, in.Account)
	if err != nil {
		return nil, err
	}
	set(&s.Name, in.Body.Name)
	set(&s.Role, in.Body.Role)
	set(&s.Locations, in.Body.Locations)
	set(&s.Expires, in.Body.Expires)
	set(&s.Enabled, in.Body.Enabled)
	if in.Body.Networks != nil {
		if s.Networks, err = networksOf(*in.Body.Networks); err != nil {
			return nil, err
		}
	}
	return &one[ServiceAccount]{serviceOf(s)}, a.DB.ChangeServiceAccount(ctx, sc, s)
}

func deleteService(a *API, ctx context.Context, sc store.Scope, in *ServicePath) (*struct{}, error) {
	return nil, a.DB.DeleteServiceAccount(ctx, sc, in.Account)
}

// Key is a key of a service account or an integration in answers.
type Key struct {
	ID       lh.KeyID  `json:"id"`
	Name     string    `json:"name"`
	Created  lh.Millis `json:"created"`
	Expires  lh.Millis `json:"expires" doc:"0 is never; a key that has ended is shown for 30 days more"`
	Used     lh.Millis `json:"used" doc:"About when it was last used, to a minute; 0 is never"`
	UsedFrom string    `json:"used_from" doc:"From which network it was last used: an address of IPv4, a /64 of IPv6"`
}

func keyOf(k lh.ProgramKey) Key {
	out := Key{ID: k.ID, Name: k.Name, Created: k.Created, Expires: k.Expires, Used: k.Used}
	if k.UsedFrom.IsValid() {
		out.UsedFrom = k.UsedFrom.String()
	}
	return out
}

// NewKey is a key that was just made.
type NewKey struct {
	Key
	Secret string `json:"secret" doc:"Shown this once; for Authorization: Bearer, and as client secret of OAuth 2.0"`
}

// KeyBody is what one says of a new key.
type KeyBody struct {
	Name    string    `json:"name,omitempty" maxLength:"200" doc:"Where it is used"`
	Expires lh.Millis `json:"expires,omitempty" minimum:"0" doc:"0 is never"`
}

// RotateBody is what one says of a key that takes the place of another one.
type RotateBody struct {
	Name    string    `json:"name,omitempty" maxLength:"200" doc:"Empty is that of the old key"`
	Expires lh.Millis `json:"expires,omitempty" minimum:"0" doc:"Of the new key; 0 is never"`
	Ends    lh.Millis `json:"ends,omitempty" minimum:"0" doc:"Until when the old key goes on, at most 90 days; 0 ends it at once"`
}

func (a *API) keys(ctx context.Context, sc store.Scope, program string) (*list[Key], error) {
	ks, err := a.DB.ProgramKeys(ctx, sc, program)
	if err != nil {
		return nil, err
	}
	return listEach(ks, keyOf), nil
}

func made(k lh.ProgramKey, secret string, err error) (*one[NewKey], error) {
	if err != nil {
		return nil, err
	}
	return &one[NewKey]{NewKey{keyOf(k), secret}}, nil
}

func listServiceKeys(a *API, ctx context.Context, sc store.Scope, in *ServicePath) (*list[Key], error) {
	return a.keys(ctx, sc, in.program())
}

type createServiceKeyInput struct {
	ServicePath
	Body KeyBody
}

func createServiceKey(a *API, ctx context.Context, sc store.Scope, in *createServiceKeyInput) (*one[NewKey], error) {
	return made(a.Access.NewKey(ctx, sc, lh.ProgramKey{Program: in.program(), Name: in.Body.Name, Expires: in.Body.Expires}))
}

// ServiceKeyPath is the part of an input that names a key of a service account.
type ServiceKeyPath struct {
	ServicePath
	Key lh.KeyID `path:"key" maxLength:"40"`
}

type rotateServiceKeyInput struct {
	ServiceKeyPath
	Body RotateBody
}

func rotateServiceKey(a *API, ctx context.Context, sc store.Scope, in *rotateServiceKeyInput) (*one[NewKey], error) {
	b := in.Body
	return made(a.Access.RotateKey(ctx, sc, lh.ProgramKey{Program: in.program(), Name: b.Name, Expires: b.Expires}, in.Key, b.Ends))
}

func revokeServiceKey(a *API, ctx context.Context, sc store.Scope, in *ServiceKeyPath) (*struct{}, error) {
	return nil, a.DB.RevokeKey(ctx, sc, in.program(), in.Key)
}

// Usage is what a program did on one day.
type Usage struct {
	Date     string `json:"date" doc:"UTC" example:"2026-03-01"`
	Class    string `json:"class" doc:"series, latest, live, export, read (all else that reads), change, send" example:"series"`
	Requests int64  `json:"requests"`
	Samples  int64  `json:"samples" doc:"Of the answers; of send, those taken in"`
}

// UsageRange is the part of an input that says of which days.
type UsageRange struct {
	From string `query:"from" format:"date" doc:"First day, UTC; without it, 30 days before the last"`
	To   string `query:"to" format:"date" doc:"Last day, UTC; without it, today"`
}

func (a *API) usage(ctx context.Context, sc store.Scope, program string, in UsageRange) (*list[Usage], error) {
	day := func(text string, otherwise int32) (int32, error) {
		if text == "" {
			return otherwise, nil
		}
		t, err := time.Parse(time.DateOnly, text)
		if err != nil {
			return 0, lh.Errorf(lh.Invalid, "%q is no day, such as 2026-03-01", text)
		}
		return lh.MillisOf(t).Day(), nil
	}
	to, err := day(in.To, lh.MillisOf(a.Now()).Day())
	if err != nil {
		return nil, err
	}
	from, err := day(in.From, to-30)
	if err != nil {
		return nil, err
	}
	us, err := a.DB.Usage(ctx, sc, program, from, to)
	if err != nil {
		return nil, err
	}
	return listEach(us, func(u lh.Usage) Usage {
		return Usage{lh.DayStart(u.Day).Time().Format(time.DateOnly), u.Class, u.Requests, u.Samples}
	}), nil
}

type serviceUsageInput struct {
	ServicePath
	UsageRange
}

func getServiceUsage(a *API, ctx context.Context, sc store.Scope, in *serviceUsageInput) (*list[Usage], error) {
	return a.usage(ctx, sc, in.program(), in.UsageRange)
}

// Caller is who is asking.
type Caller struct {
	Kind    lh.ActorKind `json:"kind" enum:"user,service account"`
	ID      string       `json:"id"`
	Name    string       `json:"name"`
	Project lh.ProjectID `json:"project,omitempty" doc:"Of a service account"`
	Role    lh.Role      `json:"role,omitempty" doc:"Of a service account"`
	Expires lh.Millis    `json:"expires" doc:"When the session or the account ends; 0 is never"`
	From    string       `json:"from" doc:"The address the hub sees the request come from"`
}

func getCaller(_ *API, _ context.Context, p access.Principal, _ *struct{}) (*one[Caller], error) {
	c := Caller{Kind: p.Kind, ID: p.Actor().ID, From: strings.TrimPrefix(p.Remote.String(), "invalid IP")}
	if p.Kind == lh.ActorService {
		c.Name, c.Project, c.Role, c.Expires = p.Service.Name, p.Service.Project, p.Service.Role, p.Service.Expires
	} else {
		c.Name, c.Expires = p.User.Name, p.Session.Expires
	}
	return &one[Caller]{c}, nil
}
