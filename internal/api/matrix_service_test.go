package api_test

import "github.com/loggerhead-cloud/loggerhead/internal/store"

var serviceLeast = map[string]string{}

var serviceCalls = map[string]func(*rig, store.Scope) call{}
