package api

// auditRoutes are the operations on the audit trail.
var auditRoutes = []route{}
