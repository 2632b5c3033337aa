/** The figures of the engine's page, from the object that `uWS.stats()` and the route of metrics give. */
import type { ProcessStats } from 'uWebSockets.js';

/** Counters, of which the page shows how fast they grow, and gauges. Times are in milliseconds. */
export interface Sample {
  /** The page's clock, in milliseconds. */
  t: number;
  counters: {
    received: number;
    delivered: number;
    bytesIn: number;
    bytesOut: number;
    requests: number;
    dropped: number;
    loopTime: number;
    scriptTime: number;
  };
  gauges: {
    http: number;
    webSockets: number;
    events: number;
    commands: number;
    loopLag: number;
    scriptLag: number;
    unsent: number;
  };
}

export type Counter = keyof Sample['counters'];
export type Gauge = keyof Sample['gauges'];

export function sampleOf(stats: ProcessStats, t: number): Sample {
  const { bytes, connections, http, javaScript, loop, memory, queues, webSocket } = stats;
  const { messages } = webSocket;
  return {
    t,
    counters: {
      received: messages.received,
      delivered: messages.sent + webSocket.deliveries,
      bytesIn: bytes.received,
      bytesOut: bytes.sent,
      requests: http.requests,
      dropped: messages.dropped.send + messages.dropped.publish,
      loopTime: loop.processorSeconds * 1000,
      scriptTime: javaScript.processorSeconds * 1000,
    },
    gauges: {
      http: connections.plain.http + connections.tls.http + connections.tls.handshaking,
      webSockets: connections.plain.webSocket + connections.tls.webSocket,
      events: queues.events,
      commands: queues.commandBatches,
      loopLag: loop.lagSeconds * 1000,
      scriptLag: javaScript.lagSeconds * 1000,
      unsent: memory.unsent,
    },
  };
}

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export const count = (value: number) => whole.format(value);
export const percent = (value: number) => withUnit(whole.format(value), '%');

export function milliseconds(value: number): string {
  if (value > 0 && value < 0.1) return withUnit('< 0.1', 'ms');
  return withUnit((value < 10 ? tenths : whole).format(value), 'ms');
}

export function bytes(value: number): string {
  if (value < 1024) return withUnit(whole.format(value), 'B');
  if (value < 1024 * 1024) return withUnit(tenths.format(value / 1024), 'KiB');
  return withUnit(tenths.format(value / 1024 / 1024), 'MiB');
}

/** A number stays on the line of its unit. */
function withUnit(number: string, unit: string): string {
  return `${number} ${unit}`.replaceAll(' ', '\u00a0');
}
