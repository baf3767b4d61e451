package gateway

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
	"github.com/loggerhead-cloud/loggerhead/internal/store"
	"github.com/loggerhead-cloud/loggerhead/internal/wire"
)

// Config is what a gateway works with.
type Config struct {
	// Identify returns the device whose certificate has this public key. Unauthenticated or Forbidden end its
	// connections; any other error refuses the one request.
	Identify func(ctx context.Context, keyHash [32]byte) (access.Device, error)
	// Denied returns the certificates that were revoked at since or later and have not expired. It is asked a few times
	// a second, and so cuts what another replica has revoked. Without it every live device is identified anew instead.
	Denied func(ctx context.Context, since lh.Millis) ([]store.Denied, error)
	// Accept makes one upload durable; an Ack means it is. It does not keep the payload.
	Accept   func(ctx context.Context, sc store.Scope, d lh.DeviceID, payload []byte) (wire.Ack, error)
	Manifest func(ctx context.Context, sc store.Scope, d lh.DeviceID, m wire.Manifest) (wire.Welcome, error)
	Enroll   func(ctx context.Context, serial, code string, csrDER []byte) (*x509.Certificate, error)
	Reenroll func(ctx context.Context, sc store.Scope, d lh.DeviceID, csrDER []byte) (*x509.Certificate, error)
	// CACerts are what a device is to trust and to send along: the root and the authority of devices.
	CACerts    func() []*x509.Certificate
	Limits     Limits
	Now        func() time.Time // nil is time.Now
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Limits bound what strangers and devices may use up. A zero is the default in brackets.
type Limits struct {
	Connections int // open at once, HTTPS and MQTT each [20,000]
	Strangers   int // of them, those that have not shown yet who they are [4,096]
	// StrangersOfAddress is the same of one address (one /64 of IPv6). Devices behind one router or load balancer share
	// an address, so it bounds how many of them may connect at the same moment. [1,024]
	StrangersOfAddress int
	DeviceConns        int           // HTTPS connections of one device; the oldest is closed for the newest [8]
	DeviceUploads      int           // uploads of one device under way over HTTPS [8]
	UploadBytes        int64         // of all uploads in memory, as received [64 MiB]
	Handshake          time.Duration // TLS on the MQTT listener, and again for the first packet [15 s]
	KeepAlive          time.Duration // the longest a device on MQTT may ask for [20 min]
	Accept             time.Duration // for one upload to become durable [30 s]
}

func (l *Limits) fill() {
	or(&l.Connections, 20000)
	or(&l.Strangers, 4096)
	or(&l.StrangersOfAddress, 1024)
	or(&l.DeviceConns, 8)
	or(&l.DeviceUploads, 8)
	or(&l.UploadBytes, 64<<20)
	or(&l.Handshake, 15*time.Second)
	or(&l.KeepAlive, 20*time.Minute)
	or(&l.Accept, 30*time.Second)
	l.UploadBytes = max(l.UploadBytes, 2*maxPacket) // less would never let the greatest in
}

func or[T int | int64 | time.Duration](v *T, standard T) {
	if *v == 0 {
		*v = standard
	}
}

// Gateway is safe for concurrent use.
type Gateway struct {
	cfg       Config
	now       func() time.Time
	log       *slog.Logger
	mux       *http.ServeMux
	metrics   metrics
	ids       identities
	tries     tries
	buffers   buffers
	budget    *semaphore.Weighted // bytes of uploads in memory
	enrolling chan struct{}       // a place for each enrolment under way

	// ctx is what work for MQTT sessions runs under; it ends when a shutdown runs out of time.
	ctx    context.Context
	cancel context.CancelFunc
	// newcomers is what connections are met under until they have proven who they are; it ends when a shutdown begins.
	newcomers context.Context
	turnAway  context.CancelFunc
	wg        sync.WaitGroup // goroutines: the watch, sessions, their uploads

	door admission
	live registry // who is connected
}

// New returns a Gateway. It starts nothing.
func New(c Config) *Gateway {
	c.Limits.fill()
	g := &Gateway{cfg: c, now: c.Now, log: c.Log}
	if g.now == nil {
		g.now = time.Now
	}
	if g.log == nil {
		g.log = slog.Default()
	}
	g.metrics = newMetrics(c.Registerer)
	g.budget = semaphore.NewWeighted(c.Limits.UploadBytes)
	g.enrolling = make(chan struct{}, maxEnrolling)
	g.door.limits = c.Limits
	g.newcomers, g.turnAway = context.WithCancel(context.Background())
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.routes()
	return g
}
