package agent

import "time"

// QuickRefusals makes an agent try again soon after it was refused.
func QuickRefusals(o *Options) { o.refusedWait = 200 * time.Millisecond }

// StatusOf is the status of this moment.
func StatusOf(a *Agent) Status { return a.status() }

// OneLook makes an agent look for a change of its health once, at its start.
func OneLook(o *Options) { o.statusLook = time.Hour }
