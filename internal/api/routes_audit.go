package api

import lh "github.com/loggerhead-cloud/loggerhead"

// auditRoutes are the operations on the audit trails: a project's, and the installation's of accounts.
var auditRoutes = []route{
	inProject(lh.PermAdminister, "GET", "/api/v1/projects/{project}/audit", "list-audit-events", "List what was changed, by whom, from where and when", listAudit),
	inProject(lh.PermAdminister, "GET", "/api/v1/projects/{project}/audit/export", "export-audit-events", "The audit trail as a file, as CSV or with all that its chain of hashes is checked by", exportAudit),
	signedIn("GET", "/api/v1/audit", "list-account-events", "List what was done to accounts", listAccountAudit).says("For operators of the installation."),
	signedIn("GET", "/api/v1/audit/export", "export-account-events", "What was done to accounts, as a file", exportAccountAudit).says("For operators of the installation."),
}
