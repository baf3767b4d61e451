package api

import (
	lh "github.com/loggerhead-cloud/loggerhead"
)

// changeRoutes are the operations that end things, make many at once, and tell what was changed.
var changeRoutes = []route{
	inProject(lh.PermConfigure, "DELETE", "/api/v1/projects/{project}/devices/{device}", "delete-device", "Delete a device that is revoked; its elements stay, or go with their series", deleteDevice),
	inProject(lh.PermDestroy, "DELETE", "/api/v1/projects/{project}/elements/{element}", "delete-element", "Delete an element with its series, for good", deleteElement),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/elements/{element}/corrections/{correction}", "get-correction", "Get a correction", getCorrection),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/elements/{element}/approvals/{approval}", "get-approval", "Get an approval", getApproval),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/changes", "list-changes", "What was changed since a cursor, and which days of series got samples", getChanges),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/locations/bulk", "create-locations", "Add many locations, from JSON or CSV, all or none", bulkLocations).bulky(bulkBody[NewLocation]),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/devices/bulk", "claim-devices", "Claim many devices, from JSON or CSV, all or none", bulkDevices).bulky(bulkBody[NewDevice]),
	inProject(lh.PermConfigure, "POST", "/api/v1/projects/{project}/elements/bulk", "create-elements", "Add many elements that no device feeds, from JSON or CSV, all or none", bulkElements).bulky(bulkBody[NewElement]),
}
