package api_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

type page[T any] struct {
	Items []T
	Next  string
	Total *int
}

// pages reads a list to its end and calls between before each page but the first.
func pages[T any](r *rig, who, path string, between func(read []T)) (all []T) {
	r.t.Helper()
	for n := 0; path != ""; n++ {
		if n > 200 {
			r.t.Fatalf("%s does not end", path)
		}
		if n > 0 && between != nil {
			between(all)
		}
		a := r.as(who, "GET", path, nil)
		var p page[T]
		a.decode(r.t, &p)
		if link := a.header.Get("Link"); (link == "") != (p.Next == "") || p.Next != "" && link != "<"+p.Next+`>; rel="next"` {
			r.t.Errorf("next %q, Link %q", p.Next, link)
		}
		all, path = append(all, p.Items...), p.Next
	}
	return all
}

// TestPages: every page of a list joins the next, in any order, and neither what comes nor what goes meanwhile shifts it.
func TestPages(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, who := r.t, "owner@a.example"
		var ls []lh.Location
		for i := range 45 {
			ls = append(ls, lh.Location{Name: fmt.Sprintf("Site %02d", i*7%45), Attributes: lh.Attributes{"river": []string{"Skjern", "Omme"}[i%2]}})
		}
		made, _, err := r.db.CreateLocations(ctx, r.owner, ls, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, sort := range []string{"", "name", "-name", "created", "-created"} {
			got := pages[api.Location](r, who, r.path("locations")+"?limit=7&sort="+sort, nil)
			if len(got) != 45 {
				t.Fatalf("sort %q: %d locations", sort, len(got))
			}
			ordered := slices.IsSortedFunc(got, func(a, b api.Location) int {
				switch sort {
				case "name":
					return strings.Compare(a.Name, b.Name)
				case "-name":
					return strings.Compare(b.Name, a.Name)
				case "-created":
					return int(b.Created - a.Created)
				}
				return int(a.Created - b.Created)
			})
			if !ordered {
				t.Errorf("sort %q is not sorted", sort)
			}
		}
		// While it is read, some of what was read goes and some that comes before it comes.
		n := 0
		got := pages[api.Location](r, who, r.path("locations")+"?limit=10&sort=name", func(read []api.Location) {
			r.as(who, "DELETE", r.path("locations", string(read[len(read)-1].ID)), nil)
			r.as(who, "POST", r.path("locations"), map[string]any{"name": fmt.Sprintf("A%d", n)})
			n++
		})
		if len(got) != 45 || n != 4 {
			t.Errorf("a list that changes while it is read gave %d of 45, in %d steps", len(got), n)
		}
		var p page[api.Location]
		r.as(who, "GET", r.path("locations")+"?limit=1&total=true&q=sITE%200&attribute=river=Omme", nil).decode(t, &p)
		want := 0
		for _, l := range made {
			gone := slices.ContainsFunc(got, func(g api.Location) bool { return g.ID == l.ID }) && r.as(who, "GET", r.path("locations", string(l.ID)), nil).status == 404
			if strings.HasPrefix(l.Name, "Site 0") && l.Attributes["river"] == "Omme" && !gone {
				want++
			}
		}
		if p.Total == nil || *p.Total != want || want == 0 {
			t.Errorf("total %v, want %d", p.Total, want)
		}
		if got := pages[api.Location](r, who, r.path("locations")+"?attribute=river&limit=100", nil); len(got) != 41 {
			t.Errorf("%d have the attribute river", len(got))
		}
	})
}

// TestCursorsAreBound: a cursor opens for who it was made for, on the same list with the same filters, and not a bit of it
// may be changed.
func TestCursorsAreBound(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		t, who := r.t, "owner@a.example"
		r.member("other@a.example", lh.RoleOwner)
		for i := range 5 {
			r.as(who, "POST", r.path("locations"), map[string]any{"name": fmt.Sprintf("Secret place %d", i)})
			r.as(who, "POST", r.path("elements"), map[string]any{"name": fmt.Sprintf("E%d", i)})
		}
		var p page[api.Location]
		r.as(who, "GET", r.path("locations")+"?limit=2&sort=name&q=place", nil).decode(t, &p)
		u, err := url.Parse(p.Next)
		if err != nil {
			t.Fatal(err)
		}
		c := u.Query().Get("cursor")
		if raw, err := base64.RawURLEncoding.DecodeString(c); err != nil || strings.Contains(strings.ToLower(string(raw)), "secret") {
			t.Errorf("the cursor %q is no base64, or shows a name", raw)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(c)
		for i := range raw {
			b := slices.Clone(raw)
			b[i] ^= 1
			if a := r.as(who, "GET", r.path("locations")+"?limit=2&sort=name&q=place&cursor="+base64.RawURLEncoding.EncodeToString(b), nil); a.status != 400 {
				t.Fatalf("a cursor with byte %d changed: %d", i, a.status)
			}
		}
		for what, a := range map[string]answer{
			"somebody else":  r.as("other@a.example", "GET", p.Next, nil),
			"another filter": r.as(who, "GET", strings.Replace(p.Next, "q=place", "q=plac", 1), nil),
			"another order":  r.as(who, "GET", strings.Replace(p.Next, "sort=name", "sort=-name", 1), nil),
			"another list":   r.as(who, "GET", strings.Replace(p.Next, "/locations", "/elements", 1), nil),
			"the feed":       r.as(who, "GET", r.path("changes")+"?since="+c, nil),
			"cut":            r.as(who, "GET", strings.Replace(p.Next, c, c[:len(c)-1], 1), nil),
			"long":           r.as(who, "GET", strings.Replace(p.Next, c, strings.Repeat("A", 3000), 1), nil),
		} {
			if a.status != 400 || a.problem(t).Code != lh.Invalid {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		if a := r.as(who, "GET", strings.Replace(p.Next, "limit=2", "limit=3", 1), nil); len(items[api.Location](t, a)) != 3 {
			t.Errorf("another limit: %s", a.body)
		}
	})
}

// TestListOfTenThousand: a page of 10,000 devices, with names to be opened and searched, comes in well under a second.
func TestListOfTenThousand(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10,000 locations")
	}
	each(t, rigOptions{}, func(r *rig) {
		ls := make([]lh.Location, 10_000)
		for i := range ls {
			ls[i].Name = fmt.Sprintf("Site %05d", i)
		}
		if _, _, err := r.db.CreateLocations(ctx, r.owner, ls, false); err != nil {
			r.t.Fatal(err)
		}
		token := r.token("owner@a.example")
		start := time.Now()
		a := r.do("GET", r.path("locations")+"?sort=-name&q=site&limit=100&total=true", nil, bearer(token))
		took := time.Since(start)
		var p page[api.Location]
		if a.decode(r.t, &p); a.status != http.StatusOK || len(p.Items) != 100 || *p.Total != 10_000 || p.Items[0].Name != "Site 09999" {
			r.t.Errorf("%d items of %v", len(p.Items), p.Total)
		}
		r.t.Logf("a page of 10,000: %s", took)
		if took > 5*time.Second {
			r.t.Errorf("a page of 10,000 took %s", took)
		}
	})
}
