package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"sort"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// How an operation that lists things pages, sorts and filters. Its input embeds [Page], and its handler ends with one of:
//
//	// A bounded set in memory: read all that the scope sees, filter it by the operation's own parameters, then
//	p, err := paged(a, ctx, in.Page, &deviceSheet, ds) // cuts the page out of ds
//	return pageOf(p, shown), nil                       // shown[i] shows p.items[i]; or pageEach(p, deviceOf)
//
//	// A table read by key: the position is any type that JSON can write
//	var at position
//	found, err := a.openCursor(ctx, in.Cursor, &at)     // false: from the beginning
//	…
//	next, err := a.cursor(ctx, position{…})             // where more follows
//	return a.onwards(ctx, listOf(items), next), nil
//
// A sheet names the fields one may sort by, what q searches, and the id that makes the order total. Its sort fields are
// described to the caller by [route.sorted]. A cursor is sealed: it holds names, which lie sealed everywhere else, and it
// opens only for who it was made for, on the same path with the same filters and order. It names the last thing shown, not
// a number of things, so that what is added or removed meanwhile shifts nothing.

// Page is the part of a list's input that says which part of it is asked for.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"At most so many at a time"`
	Cursor string `query:"cursor" maxLength:"2048" doc:"Where to go on: that of next in the page before, with the same filters and order"`
	Sort   string `query:"sort" maxLength:"40" doc:"Field to sort by; with “-” before it descending"`
	Total  bool   `query:"total" doc:"Also count all that the filters leave"`
}

// Search is the part of a list's input that searches names.
type Search struct {
	Q string `query:"q" maxLength:"200" doc:"Only what has this text in its name, whatever the case"`
}

// matches reports whether one of the texts holds what is searched.
func (s Search) matches(texts ...string) bool {
	if s.Q == "" {
		return true
	}
	q := strings.ToLower(s.Q)
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(strings.ToLower(t), q) })
}

// sortKey is a thing's place in an order: by Number, then Text.
type sortKey struct {
	Number float64 `json:"n,omitempty"`
	Text   string  `json:"t,omitempty"`
}

func (k sortKey) compare(o sortKey) int {
	return cmp.Or(cmp.Compare(k.Number, o.Number), strings.Compare(k.Text, o.Text))
}

// byNumber and byText make sort keys. Text sorts without case.
func byNumber[N ~int | ~int64](n N) sortKey { return sortKey{Number: float64(n)} }
func byText[S ~string](s S) sortKey         { return sortKey{Text: strings.ToLower(string(s))} }

// sheet is how things of one kind are listed.
type sheet[T any] struct {
	usual string // field in whose order they come when nobody says
	id    func(T) string
	by    map[string]func(T) sortKey
}

// fields names what a sheet sorts by, for [route.sorted].
func (s *sheet[T]) fields() []string {
	names := make([]string, 0, len(s.by))
	for n := range s.by {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// part is a page cut out of a list.
type part[T any] struct {
	items []T
	next  string // path of the next page; "" at the end
	total *int
}

// position is the last thing of a page, in a cursor.
type position struct {
	Key sortKey `json:"k"`
	ID  string  `json:"i"`
}

// paged sorts all and cuts out the page that is asked for.
func paged[T any](a *API, ctx context.Context, p Page, s *sheet[T], all []T) (part[T], error) {
	field, down := strings.CutPrefix(cmp.Or(p.Sort, s.usual), "-")
	by := s.by[field]
	if by == nil {
		return part[T]{}, lh.Errorf(lh.Invalid, "query.sort: this list sorts by %s, with “-” before it descending", strings.Join(s.fields(), ", "))
	}
	type entry struct {
		at position
		it T
	}
	compare := func(x, y position) int {
		c := cmp.Or(x.Key.compare(y.Key), strings.Compare(x.ID, y.ID))
		if down {
			return -c
		}
		return c
	}
	var after position
	going, err := a.openCursor(ctx, p.Cursor, &after)
	if err != nil {
		return part[T]{}, err
	}
	var out part[T]
	if p.Total {
		n := len(all)
		out.total = &n
	}
	entries := make([]entry, 0, len(all))
	for _, it := range all {
		e := entry{position{by(it), s.id(it)}, it}
		if !going || compare(e.at, after) > 0 {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(x, y entry) int { return compare(x.at, y.at) })
	if limit := max(p.Limit, 1); len(entries) > limit {
		entries = entries[:limit]
		cursor, err := a.cursor(ctx, entries[limit-1].at)
		if err != nil {
			return part[T]{}, err
		}
		out.next = nextPath(ctx, cursor)
	}
	out.items = make([]T, len(entries))
	for i, e := range entries {
		out.items[i] = e.it
	}
	return out, nil
}

// pageOf answers with a page, each of its things as it is shown.
func pageOf[T, U any](p part[T], shown []U) *list[U] {
	l := listOf(shown)
	l.Body.Total = p.total
	l.link(p.next)
	return l
}

// pageEach answers with a page, each of its things as of shows it.
func pageEach[T, U any](p part[T], of func(T) U) *list[U] {
	out := make([]U, len(p.items))
	for i, it := range p.items {
		out[i] = of(it)
	}
	return pageOf(p, out)
}

// link says where a list goes on.
func (l *list[T]) link(next string) {
	if next != "" {
		l.Body.Next = next
		l.Link = "<" + next + `>; rel="next"`
	}
}

// onwards adds to a list where it goes on: at a cursor, or nowhere with "".
func onwards[T any](ctx context.Context, l *list[T], cursor string) *list[T] {
	if cursor != "" {
		l.link(nextPath(ctx, cursor))
	}
	return l
}

// nextPath returns the path and query of the request with another cursor.
func nextPath(ctx context.Context, cursor string) string {
	r, _ := request(ctx)
	q := r.URL.Query()
	q.Set("cursor", cursor)
	return (&url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: q.Encode()}).String()
}

// cursorPlace binds a cursor to who asks and to what is asked: path, filters and order, but not how many.
func cursorPlace(ctx context.Context) []byte {
	r, _ := request(ctx)
	q := r.URL.Query()
	for _, free := range []string{"cursor", "limit", "total", "wait", "since"} {
		q.Del(free)
	}
	who := principal(ctx).Actor()
	return []byte(string(who.Kind) + "\x00" + who.ID + "\x00" + r.URL.EscapedPath() + "\x00" + q.Encode())
}

// cursor seals a position of the list that is asked for.
func (a *API) cursor(ctx context.Context, at any) (string, error) {
	b, err := json.Marshal(at)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(a.cursors.Seal(nil, nil, b, cursorPlace(ctx))), nil
}

// openCursor reads a cursor into at and reports whether there was one. Invalid: it is not of this list, or not of ours.
func (a *API) openCursor(ctx context.Context, cursor string, at any) (bool, error) {
	if cursor == "" {
		return false, nil
	}
	wrong := lh.Errorf(lh.Invalid, "query.cursor: this is no cursor of this list as you filter and sort it; begin again without one")
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return false, wrong
	}
	if b, err = a.cursors.Open(nil, nil, b, cursorPlace(ctx)); err != nil {
		return false, wrong
	}
	if err := json.Unmarshal(b, at); err != nil {
		return false, wrong
	}
	return true, nil
}
