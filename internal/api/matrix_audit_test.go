package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var auditLeast = map[string]string{
	"list-audit-events": "administrator", "export-audit-events": "administrator",
	"list-account-events": "operator", "export-account-events": "operator",
}

var auditCalls = map[string]func(*rig, store.Scope) call{
	"list-audit-events":     func(*rig, store.Scope) call { return call{query: "limit=5"} },
	"export-audit-events":   func(*rig, store.Scope) call { return call{query: "format=ndjson"} },
	"list-account-events":   func(*rig, store.Scope) call { return call{query: "newest=true"} },
	"export-account-events": func(*rig, store.Scope) call { return call{} },
}
