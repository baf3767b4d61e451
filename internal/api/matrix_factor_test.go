package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var factorLeast = map[string]string{}

var factorCalls = map[string]func(*rig, store.Scope) call{}
