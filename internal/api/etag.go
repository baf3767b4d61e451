package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
)

// Entity tags and the conditions on them (RFC 9110 section 13), for every operation at once; handlers know nothing of them.
//
// The tag of one thing of a project is "<version>-<hash>": how often it was changed, and a hash of what is shown. That of
// anything else is "<hash>". If-None-Match compares the whole: an answer is left out only where it would be the same to the
// byte. If-Match compares versions: what a device says of itself every minute is shown and so is in the hash, but it is no
// change that somebody could overwrite.
//
// A condition is checked before the handler, to be quick, and again in the transaction that makes the change, with the
// project's row held ([store.Request]), to be right. A PATCH without a condition reads, merges and writes: it gets the
// version it read as its condition, and is made again when that is gone, so that two changes of different fields both stay.

// patchTries is how often a PATCH is made again before it gives up.
const patchTries = 8

// shown is an answer whose body is all there is to it.
type shown interface{ shown() any }

func (o *one[T]) shown() any  { return o.Body }
func (l *list[T]) shown() any { return l.Body }

// subjectOf returns the id that a request is about: the last parameter of its path.
func subjectOf(r *http.Request, path string) string {
	i := strings.LastIndexByte(path, '{')
	if i < 0 {
		return ""
	}
	name, _, _ := strings.Cut(path[i+1:], "}")
	return r.PathValue(name)
}

// tagOf returns an entity tag.
func tagOf(version int64, versioned bool, body any) (string, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(b)
	tag := base64.RawURLEncoding.EncodeToString(h[:15])
	if versioned {
		tag = strconv.FormatInt(version, 10) + "-" + tag
	}
	return `"` + tag + `"`, nil
}

// conditional gives an operation's handler tags and conditions.
func conditional[I, O any](rt route, h func(*API, context.Context, *I) (*O, error)) func(*API, context.Context, *I) (*O, error) {
	_, tagged := any((*O)(nil)).(shown)
	single := strings.HasSuffix(rt.path, "}")
	if rt.method == http.MethodGet {
		if !tagged {
			return h
		}
		return func(a *API, ctx context.Context, in *I) (*O, error) {
			r, w := request(ctx)
			var version int64
			if single && rt.permission != "" {
				var err error // read before the thing: what comes in between makes the tag too old, never too new
				if version, err = a.version(ctx, r, subjectOf(r, rt.path)); err != nil {
					return nil, err
				}
			}
			out, err := h(a, ctx, in)
			if err != nil {
				return nil, err
			}
			tag, err := tagOf(version, single && rt.permission != "", any(out).(shown).shown())
			if err != nil {
				return nil, err
			}
			w.Header().Set("ETag", tag)
			return out, nil
		}
	}
	return func(a *API, ctx context.Context, in *I) (*O, error) {
		r, w := request(ctx)
		given := r.Header.Values("If-Match")
		if rt.permission == "" {
			if len(given) > 0 {
				return nil, lh.Errorf(lh.Invalid, "If-Match: this operation changes nothing that has a version")
			}
			return h(a, store.WithRequest(ctx, &store.Request{Attempt: attemptOf(ctx)}), in)
		}
		subject := subjectOf(r, rt.path)
		versions, err := versionsOf(given)
		if err != nil {
			return nil, err
		}
		if versions != nil {
			if versions, err = a.precondition(ctx, r, rt, subject, versions); err != nil {
				return nil, err
			}
		}
		merge := rt.method == http.MethodPatch && versions == nil
		for try := 1; ; try++ {
			if merge {
				v, err := a.version(ctx, r, subject)
				if err != nil {
					return nil, err
				}
				versions = []int64{v}
			}
			q := &store.Request{Subject: subject, Versions: versions, Attempt: attemptOf(ctx)}
			out, err := h(a, store.WithRequest(ctx, q), in)
			if merge && lh.CodeOf(err) == lh.Stale {
				if try < patchTries {
					continue
				}
				return nil, lh.Errorf(lh.Conflict, "others keep changing it; try again")
			}
			if err == nil && tagged && out != nil {
				err = setTag(w, q, subject, any(out).(shown).shown())
			}
			return out, err
		}
	}
}

// setTag tells the tag of what a request made or changed; none where it changed nothing.
func setTag(w http.ResponseWriter, q *store.Request, subject string, body any) error {
	v := reflect.ValueOf(body)
	if v.Kind() == reflect.Struct {
		if id := v.FieldByName("ID"); id.IsValid() && id.Kind() == reflect.String {
			subject = id.String()
		}
	}
	version := q.Version(subject)
	if version == 0 {
		return nil
	}
	tag, err := tagOf(version, true, body)
	if err == nil {
		w.Header().Set("ETag", tag)
	}
	return err
}

// version returns the version of a thing of the request's project. The hub asks, and tells nobody but who is answered.
func (a *API) version(ctx context.Context, r *http.Request, subject string) (int64, error) {
	v, err := a.DB.Version(ctx, a.Access.Hub(lh.ProjectID(r.PathValue("project"))), subject)
	if lh.CodeOf(err) == lh.NotFound {
		return 0, nil // the handler says so
	}
	return v, err
}

// precondition refuses a change of what has another version, to who may know of it. It returns the condition for the
// transaction: none for what is not there, or at another location, so that the handler says so as it always does.
func (a *API) precondition(ctx context.Context, r *http.Request, rt route, subject string, versions []int64) ([]int64, error) {
	sc, err := a.scope(ctx, lh.ProjectID(r.PathValue("project")), rt.permission)
	if err != nil {
		return nil, err
	}
	if sees, err := a.DB.SeesSubject(ctx, sc, subject); err != nil || !sees {
		return nil, err
	}
	v, err := a.version(ctx, r, subject)
	if err == nil && !slices.Contains(versions, v) {
		err = store.StaleError(v)
	}
	return versions, err
}

// versionsOf reads If-Match; nil is any. A tag that is not ours, or weak, matches nothing.
func versionsOf(given []string) ([]int64, error) {
	if len(given) == 0 {
		return nil, nil
	}
	tags, star, err := parseTags(given)
	if err != nil {
		return nil, lh.Errorf(lh.Invalid, "If-Match: %s", err)
	}
	if star {
		return nil, nil
	}
	versions := []int64{}
	for _, t := range tags {
		if text, _, ok := strings.Cut(t.text, "-"); ok && !t.weak {
			if v, err := strconv.ParseInt(text, 10, 64); err == nil && v >= 0 {
				versions = append(versions, v)
			}
		}
	}
	return versions, nil
}

type entityTag struct {
	weak bool
	text string // without its quotes
}

const maxTags = 50

// parseTags reads a list of entity tags, or *.
func parseTags(given []string) (tags []entityTag, star bool, err error) {
	wrong := lh.Errorf(lh.Invalid, `it is * or a list of tags in quotes, such as "3-nQ0eXk2vT5Zk9sW1rB8y", at most %d`, maxTags)
	rest := strings.TrimSpace(strings.Join(given, ","))
	if rest == "*" {
		return nil, true, nil
	}
	for {
		var t entityTag
		rest, t.weak = strings.CutPrefix(rest, "W/")
		body, ok := strings.CutPrefix(rest, `"`)
		if !ok {
			return nil, false, wrong
		}
		end := strings.IndexByte(body, '"')
		if end < 0 || len(tags) == maxTags {
			return nil, false, wrong
		}
		for _, c := range []byte(body[:end]) {
			if c < 0x21 || c == 0x7f {
				return nil, false, wrong
			}
		}
		t.text = body[:end]
		tags = append(tags, t)
		rest = strings.TrimLeft(body[end+1:], " \t")
		if rest == "" {
			return tags, false, nil
		}
		if rest, ok = strings.CutPrefix(rest, ","); !ok {
			return nil, false, wrong
		}
		rest = strings.TrimLeft(rest, " \t")
	}
}

// unmodified is a writer that answers 304 in place of what the asker has: where the handler set an ETag that
// If-None-Match names.
type unmodified struct {
	http.ResponseWriter
	r       *http.Request
	decided bool
	drop    bool
}

// Unwrap serves [http.ResponseController].
func (u *unmodified) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func (u *unmodified) WriteHeader(status int) {
	if u.decided {
		u.ResponseWriter.WriteHeader(status)
		return
	}
	u.decided = status >= 200
	tag := u.Header().Get("ETag")
	if tag != "" && status == http.StatusOK && (u.r.Method == http.MethodGet || u.r.Method == http.MethodHead) && u.has(tag) {
		u.drop = true
		for _, h := range []string{"Content-Type", "Content-Length", "Content-Encoding", "Link"} {
			u.Header().Del(h)
		}
		status = http.StatusNotModified
	}
	u.ResponseWriter.WriteHeader(status)
}

// has reports whether the asker has what a tag names.
func (u *unmodified) has(tag string) bool {
	given := u.r.Header.Values("If-None-Match")
	if len(given) == 0 {
		return false
	}
	tags, star, err := parseTags(given)
	if err != nil {
		return false // a condition that cannot be read is none
	}
	for _, t := range tags {
		if `"`+t.text+`"` == tag {
			return true
		}
	}
	return star
}

func (u *unmodified) Write(b []byte) (int, error) {
	if !u.decided {
		u.WriteHeader(http.StatusOK)
	}
	if u.drop {
		return len(b), nil
	}
	return u.ResponseWriter.Write(b)
}
