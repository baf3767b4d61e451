package api

import (
	"net/http"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// maxIntegrationBody has room for a list of elements with long names.
const maxIntegrationBody = 512 << 10

const (
	servicesPath = "/api/v1/projects/{project}/service-accounts"
	servicePath  = servicesPath + "/{account}"

	integrationsPath = "/api/v1/projects/{project}/integrations"
	integrationPath  = integrationsPath + "/{integration}"
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

	inProject(lh.PermAdminister, "GET", integrationsPath, "list-integrations", "List the integrations", listIntegrations).sorted(integrationSheet.fields()),
	inProject(lh.PermAdminister, "POST", integrationsPath, "create-integration", "Add an integration, which sends samples", createIntegration).forPeople().bodies(maxIntegrationBody),
	inProject(lh.PermAdminister, "GET", integrationPath, "get-integration", "Get an integration", getIntegration),
	inProject(lh.PermAdminister, "PATCH", integrationPath, "change-integration", "Change an integration", changeIntegration).forPeople().bodies(maxIntegrationBody),
	inProject(lh.PermAdminister, "DELETE", integrationPath, "delete-integration", "Delete an integration, with its keys, at once; what it sent stays", deleteIntegration).whileFrozen().forPeople(),
	inProject(lh.PermAdminister, "GET", integrationPath+"/keys", "list-integration-keys", "List the keys of an integration", listIntegrationKeys),
	inProject(lh.PermAdminister, "POST", integrationPath+"/keys", "create-integration-key", "Make a key; its secret is shown once", createIntegrationKey).forPeople(),
	inProject(lh.PermAdminister, "POST", integrationPath+"/keys/{key}/rotate", "rotate-integration-key", "Make a key in the place of another one, which ends at a set time", rotateIntegrationKey).forPeople(),
	inProject(lh.PermAdminister, "DELETE", integrationPath+"/keys/{key}", "revoke-integration-key", "Revoke a key at once", revokeIntegrationKey).whileFrozen().forPeople(),
	inProject(lh.PermAdminister, "GET", integrationPath+"/usage", "get-integration-usage", "What an integration sent, by day", getIntegrationUsage),

	byIntegration("POST", "/api/v1/integrations/{integration}/samples", "send-samples", "Send samples, by an integration's key: all of them are stored, or none", sendSamples).
		answers(http.StatusOK).counts(classSend).costs(costSend).bodies(maxSendBody),
	byIntegration("POST", "/api/v1/integrations/{integration}/write", "send-lines", "Send samples in InfluxDB line protocol: all of them are stored, or none", writeLines).
		answers(http.StatusNoContent).counts(classSend).costs(costSend).bodies(maxSendBody).detailed(lineBody),
	byIntegration("POST", influxV2Path, "send-influx-2", "The same where clients of InfluxDB 2 send it, with “Authorization: Token” and the key", writeInflux).
		answers(http.StatusNoContent).counts(classSend).costs(costSend).bodies(maxSendBody).detailed(lineBody),
	byIntegration("POST", influxV1Path, "send-influx-1", "The same where clients of InfluxDB 1 send it, with the key as the password of HTTP Basic", writeInflux).
		answers(http.StatusNoContent).counts(classSend).costs(costSend).bodies(maxSendBody).detailed(lineBody),
}
