package gateway

import (
	"context"
	"net"
)

func (g *Gateway) ServeMQTT(ctx context.Context, l net.Listener) error {
	select {
	case <-ctx.Done():
	case <-g.stopping:
	}
	return l.Close()
}

func (g *Gateway) Shutdown(ctx context.Context) error {
	g.live.mu.Lock()
	if !g.live.closing {
		g.live.closing = true
		close(g.stopping)
	}
	g.live.mu.Unlock()
	g.wg.Wait()
	g.cancel()
	return nil
}
