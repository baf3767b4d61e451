package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var projectLeast = map[string]string{}

var projectCalls = map[string]func(*rig, store.Scope) call{}
