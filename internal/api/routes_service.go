package api

// serviceRoutes are the operations on service accounts, their keys, and integrations.
var serviceRoutes = []route{}
