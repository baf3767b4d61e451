package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// routes is every operation of the API with who may call it. There are three ways in and no other: public by name,
// signedIn for what concerns the caller alone, and inProject, whose handlers get a Scope, which exists only after the
// permission was checked.
var routes = slices.Concat(coreRoutes, peopleRoutes, factorRoutes, serviceRoutes, projectRoutes, changeRoutes, exportRoutes, auditRoutes, pairingRoutes)

var coreRoutes = []route{
	public("POST", "/api/v1/session", "log-in", "Log in with e-mail and password", logIn).answers(http.StatusOK),
	signedIn("GET", "/api/v1/session", "get-session", "Who am I, and in which projects", getSession).unproven(),
	signedIn("DELETE", "/api/v1/session", "log-out", "Log out", logOut).unproven(),

	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/locations", "list-locations", "List the locations", listLocations).sorted(locationSheet.fields()),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/locations", "create-location", "Add a location", createLocation),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/locations/{location}", "get-location", "Get a location", getLocation),
	inProject(lh.PermConfigure, "PATCH", "/api/v1/projects/{project}/locations/{location}", "change-location", "Change a location", changeLocation),
	inProject(lh.PermConfigure, "DELETE", "/api/v1/projects/{project}/locations/{location}", "delete-location", "Delete a location without devices", deleteLocation),

	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/devices", "list-devices", "List the devices", listDevices).sorted(deviceSheet.fields()),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/devices", "claim-device", "Claim a device by the serial and code on its label", claimDevice),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/devices/{device}", "get-device", "Get a device", getDevice),
	inProject(lh.PermConfigure, "PATCH", "/api/v1/projects/{project}/devices/{device}", "change-device", "Change a device", changeDevice),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/devices/{device}/revoke", "revoke-device", "Bar a device at once", revokeDevice).answers(http.StatusOK).whileFrozen(),

	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/elements", "list-elements", "List the elements", listElements).sorted(elementSheet.fields()),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/elements", "create-element", "Add an element that no device feeds", createElement),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/elements/{element}", "get-element", "Get an element", getElement),
	inProject(lh.PermConfigure, "PATCH", "/api/v1/projects/{project}/elements/{element}", "change-element", "Change an element", changeElement),

	inProject(lh.PermDestroy, "DELETE", "/api/v1/projects/{project}/elements/{element}/series", "delete-series", "Delete a range of a series, for good", deleteSeries),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/elements/{element}/corrections", "list-corrections", "List the corrections of a series", listCorrections).sorted(correctionSheet.fields()),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/elements/{element}/corrections", "add-correction", "Correct a range of a series", addCorrection),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/elements/{element}/corrections/{correction}/revoke", "revoke-correction", "Take a correction back", revokeCorrection).answers(http.StatusOK),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/elements/{element}/approvals", "list-approvals", "List the approvals of a series", listApprovals).sorted(approvalSheet.fields()),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/elements/{element}/approvals", "approve-series", "Approve a range of a series, which locks it", approve),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/elements/{element}/approvals/{approval}/revoke", "revoke-approval", "Open an approved range again", revokeApproval).answers(http.StatusNoContent),

	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/latest", "list-latest", "Newest sample of each element", listLatest).counts(classLatest),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/series", "get-series", "Series: raw, or reduced to at most N points", getSeries).counts(classSeries).costs(costRead),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/statistics", "get-statistics", "Statistics of series by calendar buckets", getStatistics).counts(classSeries).costs(costRead),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/wind", "get-wind", "Statistics of the wind, of speed and direction together", getWind).counts(classSeries).costs(costRead),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/live", "stream-live", "Live values as server-sent events", streamLive).counts(classLive),
}

// route is one operation.
type route struct {
	method, path, id string
	public           bool
	open             bool   // signedIn, and for service accounts too
	people           bool   // in a project, and for people only
	cost             int    // points of the rate limit; 0 is 1
	class            string // in what programs are counted by; "" is read or change, by the method
	details          func(*huma.Operation)
	setsUp           bool          // also without the second factor that the installation wants
	permission       lh.Permission // "" where it concerns no project
	status           int           // of success; 0 is what the method has: 201 for POST, 204 for DELETE, else 200
	sorts            []string      // fields a list may be sorted by
	frozen           bool          // also while the project is archived or about to be destroyed; what only reads always is
	description      string
	manners
	register func(a *API, r route)
}

// sorted tells callers what a list may be sorted by; see page.go.
func (r route) sorted(fields []string) route {
	r.sorts = fields
	return r
}

// answers sets the status of success.
func (r route) answers(status int) route {
	r.status = status
	return r
}

// whileFrozen opens an operation of a project that is archived, or about to be destroyed: one that takes somebody or
// something out of it, or does not change it at all.
func (r route) whileFrozen() route {
	r.frozen = true
	return r
}

// says adds to the description of an operation.
func (r route) says(text string) route {
	r.description = text
	return r
}

// programs opens a signedIn operation to service accounts; without it only people may.
func (r route) programs() route {
	r.open = true
	return r
}

// forPeople closes an operation of a project to programs, whatever their role.
func (r route) forPeople() route {
	r.people = true
	return r
}

// costs sets what an operation that is heavy for the hub takes of its caller's rate limit.
func (r route) costs(points int) route {
	r.cost = points
	return r
}

// counts sets the class by which it is counted what programs do.
func (r route) counts(class string) route {
	r.class = class
	return r
}

// detailed adds to the description what the types of the handler do not say.
func (r route) detailed(details func(*huma.Operation)) route {
	r.details = details
	return r
}

// ProjectPath is the part of an input that names the project; inputs of inProject embed it. It and its siblings are
// exported, since huma passes over fields of unexported types, embedded ones too.
type ProjectPath struct {
	Project lh.ProjectID `path:"project" maxLength:"40" doc:"Project id" example:"prj_0123456789abcdef"`
}

func (p ProjectPath) projectID() lh.ProjectID { return p.Project }

type inAProject interface{ projectID() lh.ProjectID }

func public[I, O any](method, path, id, summary string, h func(*API, context.Context, *I) (*O, error)) route {
	r := route{method: method, path: path, id: id, public: true}
	r.register = func(a *API, r route) {
		op := operation(r, summary)
		op.Security = []map[string][]string{} // needs none
		register(a, r, op, h)
	}
	return r
}

func signedIn[I, O any](method, path, id, summary string, h func(*API, context.Context, access.Principal, *I) (*O, error)) route {
	r := route{method: method, path: path, id: id}
	r.register = func(a *API, r route) {
		register(a, r, operation(r, summary), func(a *API, ctx context.Context, in *I) (*O, error) {
			p := principal(ctx)
			switch {
			case p.Kind == "":
				return nil, lh.Errorf(lh.Unauthenticated, "log in first, or again")
			case p.Kind != lh.ActorUser && !(r.open && p.Kind == lh.ActorService):
				return nil, lh.Errorf(lh.Forbidden, "this is for people; a program may not do it, whatever its role")
			}
			return h(a, ctx, p, in)
		})
	}
	return r
}

func inProject[I inAProject, O any](perm lh.Permission, method, path, id, summary string, h func(*API, context.Context, store.Scope, *I) (*O, error)) route {
	r := route{method: method, path: path, id: id, permission: perm}
	r.register = func(a *API, r route) {
		op := operation(r, summary)
		op.Description = strings.TrimSpace(op.Description + " Needs the permission “" + string(perm) + "” in the project.")
		register(a, r, op, func(a *API, ctx context.Context, in *I) (*O, error) {
			sc, err := a.scope(ctx, (*in).projectID(), perm)
			if err != nil {
				return nil, err
			}
			if r.people && principal(ctx).Kind != lh.ActorUser {
				return nil, lh.Errorf(lh.Forbidden, "this is for people; a program may not do it, whatever its role")
			}
			if r.method != "GET" && !r.frozen {
				if err := sc.Standing().Frozen(); err != nil {
					return nil, err
				}
			}
			return h(a, ctx, sc, in)
		})
	}
	return r
}

// scope returns the caller's scope in a project, if it has the permission.
func (a *API) scope(ctx context.Context, project lh.ProjectID, perm lh.Permission) (store.Scope, error) {
	p := principal(ctx)
	if p.Kind == "" {
		return store.Scope{}, lh.Errorf(lh.Unauthenticated, "log in first, or again")
	}
	sc, err := a.Access.Scope(ctx, p, project)
	if err != nil {
		return sc, err
	}
	if !sc.Allows(perm) && sc.Role().Allows(perm) {
		return store.Scope{}, lh.Errorf(lh.Forbidden, "your access is limited to some locations; somebody with the whole project must do this")
	}
	if !sc.Allows(perm) {
		return store.Scope{}, lh.Errorf(lh.Forbidden, "your role in this project (%s) may not do this; it needs the permission %q", sc.Role(), perm)
	}
	return sc, nil
}

func operation(r route, summary string) huma.Operation {
	op := huma.Operation{Method: r.method, Path: r.path, OperationID: r.id, Summary: summary, Description: r.description, MaxBodyBytes: maxBody,
		RejectUnknownQueryParameters: true}
	if r.manners.body > 0 {
		op.MaxBodyBytes, op.BodyReadTimeout = r.manners.body, bodyPatience
	}
	switch r.method {
	case "POST":
		op.DefaultStatus = http.StatusCreated
	case "DELETE":
		op.DefaultStatus = http.StatusNoContent
	}
	if r.status != 0 {
		op.DefaultStatus = r.status
	}
	return op
}

type requestKey struct{}

// request returns the plain request and writer of an operation.
func request(ctx context.Context) (*http.Request, http.ResponseWriter) {
	v, _ := ctx.Value(requestKey{}).([2]any)
	return v[0].(*http.Request), v[1].(http.ResponseWriter)
}

// register adds an operation to huma, with our errors, metrics and manners.
func register[I, O any](a *API, r route, op huma.Operation, h func(*API, context.Context, *I) (*O, error)) {
	op.Responses = a.streamed(op.OperationID)
	if r.rows != nil {
		op.RequestBody, op.SkipValidateBody = r.rows(a.huma.OpenAPI().Components.Schemas), true
	}
	if a.secret == nil {
		a.secret = map[string]bool{}
	}
	r.secret = r.secret || showsSecret(reflect.TypeFor[O](), 0)
	a.secret[r.id] = r.secret
	op.Middlewares = huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
		req, w := humago.Unwrap(c)
		c = huma.WithValue(c, requestKey{}, [2]any{req, w})
		a.behave(r, c.Operation(), c, next)
		a.requests.WithLabelValues(op.OperationID, strconv.Itoa(c.Status()/100)+"xx").Inc()
	}}
	h = conditional(r, h)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(a, ctx, in)
		if err != nil {
			r, _ := request(ctx)
			p := problemOf(a.Log, r, err)
			if after := p.retryAfter(); after != "" {
				return nil, huma.ErrorWithHeaders(p, http.Header{"Retry-After": {after}})
			}
			return nil, p
		}
		return out, nil
	})
	describe(a.huma.OpenAPI().Paths[op.Path], r)
	if r.details != nil {
		r.details(described(a.huma.OpenAPI().Paths[op.Path], r.method))
	}
}

// list is the answer of every list; see page.go.
type list[T any] struct {
	Link string `header:"Link" doc:"The next page, with rel=next; not there at the end"`
	Body struct {
		Items []T    `json:"items" nullable:"false"`
		Next  string `json:"next,omitempty" doc:"Path of the next page; not there at the end"`
		Total *int   `json:"total,omitempty" doc:"How many there are in all, if asked for"`
	}
}

func listOf[T any](items []T) *list[T] {
	l := &list[T]{}
	l.Body.Items = items
	if items == nil {
		l.Body.Items = []T{}
	}
	return l
}

// listEach answers with items as of shows each.
func listEach[T, U any](items []T, of func(T) U) *list[U] {
	out := make([]U, len(items))
	for i, it := range items {
		out[i] = of(it)
	}
	return listOf(out)
}

// one is the answer of one thing.
type one[T any] struct{ Body T }
