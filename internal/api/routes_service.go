package api

import (
	"net/http"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	servicesPath = "/api/v1/projects/{project}/service-accounts"
	servicePath  = servicesPath + "/{account}"
)

// serviceRoutes are the operations on service accounts, their keys, and integrations. What gives or takes the means to
// get in is for people: a key that leaked must not be able to make others that outlive it.
var serviceRoutes = []route{
	signedIn("GET", "/api/v1/caller", "get-caller", "Who am I, as a person or a program", getCaller).programs(),
	public("POST", tokenPath, "get-token", "Get an access token (OAuth 2.0, client credentials)", getToken).answers(http.StatusOK).detailed(tokenOperation),

	inProject(lh.PermAdminister, "GET", servicesPath, "list-service-accounts", "List the service accounts", listServices).sorted(serviceSheet.fields()),
	inProject(lh.PermAdminister, "POST", servicesPath, "create-service-account", "Add a service account", createService).forPeople(),
	inProject(lh.PermAdminister, "GET", servicePath, "get-service-account", "Get a service account", getService),
	inProject(lh.PermAdminister, "PATCH", servicePath, "change-service-account", "Change a service account", changeService).forPeople(),
	inProject(lh.PermAdminister, "DELETE", servicePath, "delete-service-account", "Delete a service account, with its keys and tokens, at once", deleteService).whileFrozen().forPeople(),
	inProject(lh.PermAdminister, "GET", servicePath+"/keys", "list-service-account-keys", "List the keys of a service account", listServiceKeys),
	inProject(lh.PermAdminister, "POST", servicePath+"/keys", "create-service-account-key", "Make a key; its secret is shown once", createServiceKey).forPeople(),
	inProject(lh.PermAdminister, "POST", servicePath+"/keys/{key}/rotate", "rotate-service-account-key", "Make a key in the place of another one, which ends at a set time", rotateServiceKey).forPeople(),
	inProject(lh.PermAdminister, "DELETE", servicePath+"/keys/{key}", "revoke-service-account-key", "Revoke a key, and every token got by it, at once", revokeServiceKey).whileFrozen().forPeople(),
	inProject(lh.PermAdminister, "GET", servicePath+"/usage", "get-service-account-usage", "What a service account did, by day and class of operations", getServiceUsage),
}
