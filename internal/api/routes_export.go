package api

import (
	"net/http"

	lh "github.com/loggerhead-cloud/loggerhead"
)

const (
	exportsPath = "/api/v1/projects/{project}/exports"
	exportPath  = exportsPath + "/{export}"
)

// exportRoutes are the operations on exports. A project that is archived or about to be destroyed can still be exported:
// that is what its delay is for.
var exportRoutes = []route{
	inProject(lh.PermRead, "GET", exportsPath, "list-exports", "List the exports", listExports).sorted(exportSheet.fields()),
	inProject(lh.PermRead, "POST", exportsPath, "create-export", "Ask for an export, which is made in the background", createExport).
		answers(http.StatusAccepted).whileFrozen().costs(costExport).counts(classExport).
		says("An export of kind “project” needs the permission “administer”. Location says where its progress is."),
	inProject(lh.PermRead, "GET", exportPath, "get-export", "Get an export: how far it is", getExport),
	inProject(lh.PermRead, "DELETE", exportPath, "remove-export", "Cancel or remove an export", removeExport).whileFrozen(),
	inProject(lh.PermRead, "GET", exportPath+"/file", "get-export-file", "Download an export's file, whole or in parts (Range)", getExportFile).
		costs(costRead).counts(classExport),
}
