package api_test

import (
	"strings"
	"testing"

	"github.com/loggerhead-cloud/loggerhead/internal/api"
)

// FuzzConditions: no header of conditions or of types brings the hub down, and no tag list passes its bound.
func FuzzConditions(f *testing.F) {
	for _, s := range []string{`"3-abc"`, `W/"3-abc", "x"`, "*", `"`, `"a",`, strings.Repeat(`"a",`, 100), "text/*;q=0.1, */*;q=0", "a/b;c=\"d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, star, err := api.ParseTags([]string{s})
		if n > 50 || star && n > 0 || err == nil && !star && n == 0 {
			t.Errorf("%q: %d tags, %v, %v", s, n, star, err)
		}
		versions, err := api.VersionsOf([]string{s})
		for _, v := range versions {
			if err != nil || v < 0 {
				t.Errorf("%q: %v, %v", s, versions, err)
			}
		}
		api.Accepts(s)
	})
}

// FuzzBulk: no table and no array brings the hub down; what is read is right or told.
func FuzzBulk(f *testing.F) {
	for _, s := range []string{"name\na\n", "name;latitude\n\"a;b\";5,5\n", "\xef\xbb\xbfname,attributes.x\na,b\n", "name,name\n", "name\n\"", `[{"name":"a"}]`, `[{},5,null]`, "[" + strings.Repeat("[", 100)} {
		f.Add([]byte(s), strings.HasPrefix(s, "["))
	}
	a := api.New(api.Config{})
	f.Fuzz(func(t *testing.T, body []byte, array bool) {
		rows, wrong, err := api.BulkTable(a, body, array)
		if rows < 0 || wrong < 0 || rows > len(body) && err == nil {
			t.Errorf("%d rows, %d wrong, %v", rows, wrong, err)
		}
	})
}
