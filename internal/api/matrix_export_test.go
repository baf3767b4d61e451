package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var exportLeast = map[string]string{}

var exportCalls = map[string]func(*rig, store.Scope) call{}
