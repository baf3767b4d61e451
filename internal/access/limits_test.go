package access_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	lh "github.com/loggerhead-cloud/loggerhead"
	"github.com/loggerhead-cloud/loggerhead/internal/access"
)

func TestLimiterCounts(t *testing.T) {
	c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	l := access.NewLimiter(access.Limits{Rate: 10, Burst: 100, StrangerRate: 1, StrangerBurst: 3}, c.now)
	v := l.Principal("ana", 1)
	if !v.Limited || !v.OK || v.Burst != 100 || v.Window != 10*time.Second || v.Remaining != 99 || v.Full != 100*time.Millisecond {
		t.Errorf("first: %+v", v)
	}
	if v = l.Principal("ana", 90); !v.OK || v.Remaining != 9 {
		t.Errorf("dear: %+v", v)
	}
	if v = l.Principal("ana", 10); v.OK || v.Remaining != 9 || v.Retry != 100*time.Millisecond {
		t.Errorf("too much: %+v", v)
	}
	if v = l.Principal("bob", 100); !v.OK || v.Remaining != 0 {
		t.Errorf("another principal: %+v", v)
	}
	c.add(v.Retry + 100*time.Millisecond)
	if v = l.Principal("ana", 10); !v.OK || v.Remaining != 0 {
		t.Errorf("after Retry: %+v", v)
	}
	c.add(time.Hour)
	if v = l.Principal("ana", 5000); !v.OK || v.Remaining != 0 || v.Full != 10*time.Second {
		t.Errorf("what costs more than all: %+v", v)
	}
	c.add(-time.Minute) // a clock that is set back gives and takes nothing
	if v = l.Principal("ana", 1); v.OK {
		t.Errorf("a clock set back: %+v", v)
	}
	for range 3 {
		if v = l.Stranger("192.0.2.1/32", 1); !v.OK {
			t.Errorf("stranger: %+v", v)
		}
	}
	if v = l.Stranger("192.0.2.1/32", 1); v.OK || v.Retry != time.Second {
		t.Errorf("a stranger too much: %+v", v)
	}
	none := access.NewLimiter(access.Limits{}, nil)
	if v := none.Principal("ana", 1000); !v.OK || v.Limited || none.Buckets() != 0 {
		t.Errorf("without limits: %+v", v)
	}
}

// TestLimiterIsBounded: a flood of networks costs bounded memory, and gets what one network gets.
func TestLimiterIsBounded(t *testing.T) {
	c := &clock{t: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	l := access.NewLimiter(access.Limits{StrangerRate: 1, StrangerBurst: 2}, c.now)
	if v := l.Stranger("early", 2); !v.OK {
		t.Fatal("early")
	}
	passed := 0
	for i := range 60_000 {
		if l.Stranger(fmt.Sprint("flood ", i), 1).OK {
			passed++
		}
	}
	if n := l.Buckets(); n > 20_001 {
		t.Errorf("%d buckets", n)
	}
	if passed > 20_002 {
		t.Errorf("%d of the flood passed", passed)
	}
	if l.Stranger("early", 1).OK {
		t.Error("the flood made a debt forgotten")
	}
	c.add(time.Minute) // all are full: forgotten
	if !l.Stranger("late", 1).OK || l.Buckets() > 10 {
		t.Errorf("%d buckets after a minute", l.Buckets())
	}
}

// TestLimiterAtOnce: requests of one principal beyond the bound wait, in bounded number and for a bounded time, and
// nobody else does.
func TestLimiterAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := access.NewLimiter(access.Limits{Rate: 10, Burst: 10, AtOnce: 2}, nil)
		enter := func(id string) (func(), error) { return l.Enter(context.Background(), id) }
		first, err := enter("ana")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := enter("ana"); err != nil {
			t.Fatal(err)
		}
		if leave, err := enter("bob"); err != nil {
			t.Error(err)
		} else {
			leave()
		}
		var wg sync.WaitGroup
		entered, refused := 0, 0
		var mu sync.Mutex
		for range 8 {
			wg.Go(func() {
				_, err := enter("ana")
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					entered++
				} else if lh.CodeOf(err) == lh.Exhausted {
					refused++
				}
			})
		}
		synctest.Wait()
		if _, err := enter("ana"); lh.CodeOf(err) != lh.Exhausted {
			t.Errorf("the ninth waits, too: %v", err)
		}
		start := time.Now()
		first()
		synctest.Wait()
		mu.Lock()
		if entered != 1 {
			t.Errorf("%d entered when one left", entered)
		}
		mu.Unlock()
		wg.Wait()
		if entered != 1 || refused != 7 || time.Since(start) != 10*time.Second {
			t.Errorf("%d entered, %d refused, after %s", entered, refused, time.Since(start))
		}
		gone, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := l.Enter(gone, "ana"); err == nil {
			t.Error("somebody who is gone entered")
		}
	})
}
