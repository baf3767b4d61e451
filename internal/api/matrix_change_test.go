package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var changeLeast = map[string]string{}

var changeCalls = map[string]func(*rig, store.Scope) call{}
