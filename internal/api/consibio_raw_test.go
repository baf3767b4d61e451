package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// TestConsibioAsClientsSend sends the very bytes that the libraries of their scripts send.
func TestConsibioAsClientsSend(t *testing.T) {
	each(t, rigOptions{}, func(r *rig) {
		s := r.consibioSite(r.owner, "Ford")
		for range 40 { // enough that answers are compressed for who takes that
			r.site(r.owner, "", "1/temperature")
		}
		p, token := string(r.owner.Project()), r.token("owner@a.example")
		form := "grant_type=password&username=owner%40a.example&password=correct%20horse%20battery&client_id=R_PACKAGE_CLIENT"
		post := func(path, kind, body string, head ...string) string {
			lines := append([]string{"POST " + path + " HTTP/1.1", "Host: example.com:8443"}, head...)
			return crlf(append(lines, "Content-Type: "+kind, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
		}
		get := func(path string, head ...string) string {
			return crlf(append([]string{"GET " + path + " HTTP/1.1", "Host: example.com:8443"}, head...)...)
		}
		r2 := []string{"User-Agent: httr2/1.0.1 r-curl/5.2.1 libcurl/8.5.0", "Accept: */*", "Accept-Encoding: deflate, gzip"}
		r1 := []string{"User-Agent: libcurl/7.88.1 r-curl/5.0.0 httr/1.4.5", "Accept-Encoding: deflate, gzip", "Accept: application/json, text/xml, application/xml, */*"}
		python := []string{"User-Agent: python-requests/2.31.0", "Accept-Encoding: gzip, deflate", "Accept: */*", "Connection: keep-alive"}
		node := []string{"Accept: */*", "User-Agent: node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "Accept-Encoding: gzip,deflate", "Connection: close"}
		undici := []string{"connection: keep-alive", "accept: */*", "accept-language: *", "sec-fetch-mode: cors", "user-agent: node", "accept-encoding: gzip, deflate"}
		php := []string{"Accept: */*"}
		csharp := []string{"Accept: application/json"}
		bearer := "Authorization: Bearer " + token
		datalog := "/consibio/v2/projects/" + p + "/datalog?elements=" + string(s.elements[0].ID) + ";" + string(s.elements[1].ID)
		v1 := "/consibio/rest/get_datalog_for_element?project_id=" + p + "&element_id=" + string(s.elements[0].ID)
		for name, c := range map[string]struct {
			request string
			want    string // in the answer
		}{
			"httr2 token":            {post("/consibio/v2/oauth/token", "application/x-www-form-urlencoded", form, r2...), `"expires_in":3600`},
			"httr token":             {post("/consibio/v2/oauth/token", "application/x-www-form-urlencoded", form, r1...), `"access_token"`},
			"httr2 me":               {get("/consibio/v2/users/me", append(r2, bearer)...), `"email":"owner@a.example"`},
			"httr2 datalog":          {get(datalog+"&from_time=1.72e+09&to_time=1722000000.5", append(r2, bearer)...), `"t":1720961640.351,"v":20.0`},
			"httr2 elements":         {get("/consibio/v2/projects/"+p+"/elements", append(r2, bearer)...), `"sigDigits"`},
			"httr2 unknown device":   {get("/consibio/v2/projects/"+p+"/devices/not_a_device_id", append(r2, bearer)...), noData},
			"requests login v2":      {post("/consibio/v2/login", "application/json", consibioCredentials, python...), `"token"`},
			"requests login v1":      {post("/consibio/rest/login", "text/plain", consibioCredentials, python...), `"token"`},
			"requests devices":       {get("/consibio/rest/list_devices_in_project?project_id="+p, append(python, bearer)...), `"sub_channels":{"temperature"`},
			"requests datalog":       {get(v1+"&from_time=1720961617.123456&to_time=1720976017.123456&interval=1800.0", append(python, bearer)...), `{"time":1720960200.0,"val":22.0}`},
			"node-fetch login":       {post("/consibio/rest/login", "text/plain", `{"username":"owner@a.example","password":"correct horse battery"}`, node...), `"token"`},
			"node-fetch value":       {get("/consibio/rest/get_element_value?project_id="+p+"&element_id="+string(s.elements[0].ID), append(node, "content-type: application/json", "authorization: Bearer "+token)...), `{"payload":{"val":24.0,"time":1720961880.351},"status":"ok"}`},
			"undici datalog":         {get(v1+"&from_time=1720961617.123&to_time=1720976017.123&interval=1800", append(undici, "authorization: Bearer "+token)...), `"val":22.0`},
			"php login":              {post("/consibio/rest/login", "text/plain", `{"username":"owner@a.example","password":"correct horse battery"}`, php...), `"token"`},
			"php projects":           {get("/consibio/rest/list_projects", append(php, "Content-Type: application/json", bearer)...), `"roles":{`},
			"php datalog":            {get(v1+"&from_time=1720961617&to_time=1720976017&interval=1800", append(php, "Content-Type: application/json", bearer)...), `"val":22.0`},
			"C# login":               {post("/consibio/rest/login", "text/plain; charset=utf-8", `{"username":"owner@a.example","password":"correct horse battery"}`), `"expires":"20`},
			"C# devices":             {get("/consibio/rest/list_devices_in_project?project_id="+p, append(csharp, bearer)...), `"versions":{"cloud":"0","device":"0"}`},
			"C# elements":            {get("/consibio/rest/list_elements_in_project?project_id="+p, append(csharp, bearer)...), `"cur_val":{"val":24.0,"time":1720961880.351}`},
			"C# datalog":             {get(v1+"&from_time=1720961617&to_time=1720976017&interval=1800", append(csharp, bearer)...), `"val":22.0`},
			"an absolute URL":        {get("https://example.com:8443/consibio/v2/test", r2...), `"status":"ok","time":`},
			"HTTP/1.0":               {strings.Replace(get("/consibio/v2/users/me", bearer), "HTTP/1.1", "HTTP/1.0", 1), `"email"`},
			"a form in pieces":       {strings.Replace(post("/consibio/v2/oauth/token", "application/x-www-form-urlencoded", "", append(r2, "Transfer-Encoding: chunked")...), "Content-Length: 0\r\n", "", 1) + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(form), form), `"access_token"`},
			"a ; in the password":    {post("/consibio/v2/oauth/token", "application/x-www-form-urlencoded", "grant_type=password&username=semi@a.example&password=semi;colons;stay;", r2...), `"access_token"`},
			"HEAD":                   {strings.Replace(get("/consibio/v2/test", "Connection: close"), "GET", "HEAD", 1), ""},
			"no Authorization":       {get("/consibio/v2/users/me", python...), "Unauthenticated"},
			"Basic":                  {get("/consibio/v2/users/me", append(python, "Authorization: Basic eDp5")...), "Unauthenticated"},
			"a token that is no one": {get("/consibio/v2/users/me", append(python, "Authorization: Bearer x")...), "Unauthenticated"},
		} {
			if name == "a ; in the password" {
				if _, err := r.access.CreateUser(ctx, lh.User{Email: "semi@a.example", Name: "Semi"}, "semi;colons;stay;"); err != nil {
					r.t.Fatal(err)
				}
			}
			request := c.request
			if name == "HEAD" {
				if a := r.rawHead(request); a.status != 200 || a.header.Get("Content-Type") != "application/json" {
					r.t.Errorf("%s: %d %v", name, a.status, a.header)
				}
				continue
			}
			a := r.raw(request)
			want := 200
			if c.want == "Unauthenticated" {
				want = 401
			}
			if a.status != want || !strings.Contains(string(a.body), c.want) {
				r.t.Errorf("%s: %d %.300s, want %s", name, a.status, a.body, c.want)
			}
			compressed := a.header.Get("Content-Encoding") == "gzip"
			if takes := strings.Contains(strings.ToLower(request), "gzip"); compressed && !takes {
				r.t.Errorf("%s: compressed for a client that does not take that", name)
			}
			if name == "httr2 elements" && !compressed {
				r.t.Errorf("%s: %d bytes are not compressed", name, len(a.body))
			}
			if want == 401 && string(a.body) != "Unauthenticated" {
				r.t.Errorf("%s: %q", name, a.body)
			}
		}
	})
}

// rawHead is raw for an answer that has no body by its nature.
func (r *rig) rawHead(request string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(ctx, "HEAD", r.server.URL+strings.Fields(request)[1], nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.server.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	return answer{status: resp.StatusCode, header: resp.Header}
}
