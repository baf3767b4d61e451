package api

import (
	"net/http"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// projectRoutes are the operations on what concerns a project as a whole: itself, its members, who is invited to it.
var projectRoutes = []route{
	signedIn("GET", "/api/v1/projects", "list-projects", "List my projects", listProjects).sorted(projectSheet.fields()).programs(),
	signedIn("POST", "/api/v1/projects", "create-project", "Make a project, as its owner", createProject),
	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}", "get-project", "Get a project", getProject),
	inProject(lh.PermAdminister, "PATCH", "/api/v1/projects/{project}", "change-project", "Change a project's settings", changeProject),
	inProject(lh.PermAdminister, "POST", "/api/v1/projects/{project}/archive", "archive-project", "Archive a project", archiveProject).answers(http.StatusOK).whileFrozen().
		says("An archived project is listed apart and can be read. Its devices' uploads are stored, and people and programs can be taken out of it; nothing else changes."),
	inProject(lh.PermAdminister, "POST", "/api/v1/projects/{project}/restore", "restore-project", "Take a project out of the archive", restoreProject).answers(http.StatusOK).whileFrozen(),
	inProject(lh.PermDestroy, "DELETE", "/api/v1/projects/{project}", "delete-project", "Destroy a project and everything in it, later or at once", deleteProject).answers(http.StatusAccepted).whileFrozen().
		says("Answers 202 with the project, whose destroy_at says when it is destroyed for good: a week from now, unless the hub is set otherwise. Until then its members can read and export it, " +
			"its devices' uploads are stored, programs have no access, and an owner can call it off. With now=true and the project's name it is destroyed at once, which answers 204: " +
			"its key is overwritten, and with it everything sealed under it, in every backup of the database too."),
	inProject(lh.PermDestroy, "POST", "/api/v1/projects/{project}/keep", "keep-project", "Call the destruction of a project off", keepProject).answers(http.StatusOK).whileFrozen(),
	inProject(lh.PermDestroy, "POST", "/api/v1/projects/{project}/transfer", "transfer-project", "Hand a project over to a member", transferProject).answers(http.StatusNoContent).
		says("The member becomes an owner, the asker an administrator."),

	inProject(lh.PermRead, "GET", "/api/v1/projects/{project}/members", "list-members", "List the members", listMembers).sorted(memberSheet.fields()),
	inProject(lh.PermAdminister, "PATCH", "/api/v1/projects/{project}/members/{user}", "change-member", "Change a member's role and locations", changeMember).forPeople().
		says("Only an owner makes or unmakes an owner, and the last one stays. What somebody may no longer do ends within a second, live streams too."),
	inProject(lh.PermAdminister, "DELETE", "/api/v1/projects/{project}/members/{user}", "remove-member", "Remove a member", removeMember).whileFrozen().forPeople(),
	inProject(lh.PermRead, "POST", "/api/v1/projects/{project}/leave", "leave-project", "Leave a project", leaveProject).answers(http.StatusNoContent).whileFrozen().
		says("The last owner cannot leave: hand the project over, or destroy it."),

	inProject(lh.PermAdminister, "GET", "/api/v1/projects/{project}/invitations", "list-invitations", "List who is invited", listInvitations).sorted(invitationSheet.fields()),
	inProject(lh.PermAdminister, "POST", "/api/v1/projects/{project}/invitations", "invite", "Invite somebody by their e-mail address", invite).forPeople().
		says("Whoever the address belongs to gets a mail, with or without an account on this hub, and is a member once they accept, within 14 days. The answer is the same in both cases."),
	inProject(lh.PermAdminister, "POST", "/api/v1/projects/{project}/invitations/{invitation}/resend", "resend-invitation", "Send an invitation once more", resendInvitation).answers(http.StatusOK).forPeople().
		says("It is good for another 14 days, and the link in the mail before no longer is."),
	inProject(lh.PermAdminister, "DELETE", "/api/v1/projects/{project}/invitations/{invitation}", "revoke-invitation", "Take an invitation back", revokeInvitation).whileFrozen().forPeople(),

	signedIn("GET", "/api/v1/invitations", "list-offers", "List the invitations of my address", listOffers),
	signedIn("POST", "/api/v1/invitations/{invitation}/accept", "accept-invitation", "Accept an invitation", acceptInvitation).answers(http.StatusOK),
	signedIn("POST", "/api/v1/invitations/{invitation}/decline", "decline-invitation", "Turn an invitation down", declineInvitation).answers(http.StatusNoContent),
}
