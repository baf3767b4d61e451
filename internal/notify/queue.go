package notify

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	lh "github.com/loggerhead-cloud/loggerhead"
)

// Ask is the question whether something is to be sent to an address, which a stranger typed. It is answered in the
// background, so that the stranger learns nothing from how long the answer takes.
type Ask struct {
	Purpose lh.LinkPurpose `json:"purpose"`
	Email   string         `json:"email"`
}

// Item is what waits in the outbox: a mail or a question. It has neither when it cannot be read.
type Item struct {
	ID      lh.MailID
	Created lh.Millis
	Expires lh.Millis
	Tries   int // this one too
	Mail    *Mail
	Ask     *Ask
}

// Outbox is where mail waits. An item that was taken and neither dropped nor put off, since the hub was killed, comes
// again when its lease is over.
type Outbox interface {
	TakeMail(ctx context.Context, lease lh.Millis) (Item, bool, error)
	DropMail(ctx context.Context, id lh.MailID) error
	PutOffMail(ctx context.Context, id lh.MailID, due lh.Millis) error
}

// Config is what a queue works with.
type Config struct {
	Outbox  Outbox
	Waiting func(context.Context) (n int, oldest lh.Millis, err error)
	// Send gives a mail to a server; nil where there is none: then the log gets the link.
	Send func(ctx context.Context, id string, m Mail) error
	// Answer answers a question, which drops the item too.
	Answer     func(ctx context.Context, it Item) error
	Now        func() time.Time // nil is time.Now
	Log        *slog.Logger
	Registerer prometheus.Registerer // nil registers nowhere
	Poll       time.Duration         // between two looks; 0 is 3 s
	Rest       time.Duration         // after a failure, the first time; 0 is 10 s
}

// Queue sends what is in the outbox, one mail after the other.
type Queue struct {
	c      Config
	wake   chan struct{}
	sent   prometheus.Counter
	failed *prometheus.CounterVec

	mu      sync.Mutex
	problem string    // of the mail server; "" is none
	since   time.Time // when it began
}

const (
	lease    = 2 * time.Minute // more than a try can take
	maxRest  = 5 * time.Minute
	maxDefer = 10 * time.Minute
)

// NewQueue returns a queue; [Queue.Run] works it off.
func NewQueue(c Config) *Queue {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Poll == 0 {
		c.Poll = 3 * time.Second
	}
	if c.Rest == 0 {
		c.Rest = 10 * time.Second
	}
	q := &Queue{c: c, wake: make(chan struct{}, 1),
		sent: prometheus.NewCounter(prometheus.CounterOpts{Name: "loggerhead_mail_sent_total", Help: "Mails that the mail server has taken."}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "loggerhead_mail_failed_total",
			Help: "Mails that failed: for now (later: they are tried again), refused by the server for good, or expired before they could be sent."}, []string{"how"})}
	for _, how := range []string{"later", "refused", "expired"} {
		q.failed.WithLabelValues(how)
	}
	if c.Registerer != nil {
		c.Registerer.MustRegister(q.sent, q.failed, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "loggerhead_mail_waiting",
			Help: "Mails that wait to be sent; -1 when that cannot be read."}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			n, _, err := c.Waiting(ctx)
			if err != nil {
				return -1
			}
			return float64(n)
		}))
	}
	return q
}

// Wake says that something was put into the outbox. It does not wait.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Problem says why mail is not being sent, in words; "" when it is.
func (q *Queue) Problem() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.problem == "" {
		return ""
	}
	return fmt.Sprintf("mail has not been sent since %s: %s", q.since.UTC().Format(time.RFC3339), q.problem)
}

func (q *Queue) note(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case err == nil:
		q.problem = ""
	case q.problem == "":
		q.problem, q.since = err.Error(), q.c.Now()
	default:
		q.problem = err.Error()
	}
}

// Run works the outbox off until ctx ends. What is being sent then is sent to its end, which takes seconds.
func (q *Queue) Run(ctx context.Context) {
	rest := q.c.Rest
	for ctx.Err() == nil {
		more, err := q.next(ctx)
		switch {
		case err != nil:
			// Whatever it was, the rest would meet it too.
			sleep(ctx, nil, rest)
			rest = min(2*rest, maxRest)
		case more:
			rest = q.c.Rest
		default:
			sleep(ctx, q.wake, q.c.Poll)
		}
	}
}

func sleep(ctx context.Context, wake <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}

// next deals with one item. more: there was one. An error is none of the item's own.
func (q *Queue) next(ctx context.Context) (more bool, err error) {
	it, ok, err := q.c.Outbox.TakeMail(ctx, lh.Millis(lease.Milliseconds()))
	if err != nil {
		if ctx.Err() == nil {
			q.c.Log.ErrorContext(ctx, "outbox cannot be read", "err", err)
		}
		return false, err
	}
	if !ok {
		return false, nil
	}
	// From here to its end, whatever comes: half a try may be a mail that is sent twice.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease-10*time.Second)
	defer cancel()
	now := q.c.Now()
	if it.Expires <= lh.MillisOf(now) {
		q.failed.WithLabelValues("expired").Inc()
		q.c.Log.WarnContext(ctx, "mail was given up: it could not be sent in time", "mail", it.ID, "tries", it.Tries-1)
		return true, q.c.Outbox.DropMail(ctx, it.ID)
	}
	switch {
	case it.Ask != nil:
		err = q.c.Answer(ctx, it)
	case it.Mail == nil:
		err = lh.Errorf(lh.Internal, "mail %s in the outbox cannot be read", it.ID)
	case q.c.Send == nil:
		return true, q.tell(ctx, it)
	default:
		if err = q.c.Send(ctx, string(it.ID), *it.Mail); err == nil {
			q.note(nil)
			q.sent.Inc()
			return true, q.c.Outbox.DropMail(ctx, it.ID)
		}
	}
	if err == nil {
		return true, nil
	}
	if Refused(err) {
		q.note(nil) // the server is well
		q.failed.WithLabelValues("refused").Inc()
		q.c.Log.WarnContext(ctx, "mail was refused for good", "mail", it.ID, "to", it.Mail.To, "subject", it.Mail.Subject, "err", err)
		return true, q.c.Outbox.DropMail(ctx, it.ID)
	}
	if it.Mail != nil {
		q.note(err)
	}
	q.failed.WithLabelValues("later").Inc()
	due := now.Add(min(time.Minute<<min(it.Tries-1, 10), maxDefer))
	q.c.Log.WarnContext(ctx, "mail was not sent; it is tried again", "mail", it.ID, "tries", it.Tries, "at", due, "err", err)
	if e := q.c.Outbox.PutOffMail(ctx, it.ID, lh.MillisOf(due)); e != nil {
		return true, e
	}
	if it.Mail == nil {
		return true, nil // this one's own
	}
	return true, err
}

// tell writes the link of a mail that no server takes into the log, for the operator to pass on.
func (q *Queue) tell(ctx context.Context, it Item) error {
	if it.Mail.Link != "" {
		q.c.Log.WarnContext(ctx, "no mail server is set: pass this link on", "to", it.Mail.To, "subject", it.Mail.Subject, "link", it.Mail.Link)
	} else {
		q.c.Log.InfoContext(ctx, "no mail server is set: this mail is not sent", "to", it.Mail.To, "subject", it.Mail.Subject)
	}
	return q.c.Outbox.DropMail(ctx, it.ID)
}
