package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var auditLeast = map[string]string{}

var auditCalls = map[string]func(*rig, store.Scope) call{}
