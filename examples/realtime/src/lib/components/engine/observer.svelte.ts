/** Measures the server from the page: its figures several times a second, and how long it takes to answer. */
import type { ProcessStats } from 'uWebSockets.js';
import { on, status } from 'svelte-adapter-uws/client';
import { probe } from '$live/engine';
import { sampleOf, type Counter, type Gauge, type Sample } from './figures';
import { SPAN_MS, Track, spellOf, type Point, type Spell } from './history';

const FIGURES_EVERY_MS = 250;
const ASK_EVERY_MS = 100;
const DRAW_EVERY_MS = 200;
const TIMEOUT_MS = 10_000;
/** How fast a counter grows is told of a second. */
const RATE_MS = 1000;
const SPAN_LEAST_MS = 15_000;
/** Pings are reported after the block, so its row is complete a little later. */
const LATE_MS = 3000;

export const ROWS = ['ping', 'declared', 'cached', 'javascript'] as const;
export type Row = (typeof ROWS)[number];
const ROUTES = ['declared', 'cached'] as const satisfies Row[];
const urlOf = (row: Row) => `/engine/${row}`;

export class Observer {
  state = $state.raw() as App.EngineState;
  /** The moment that is shown. Whatever reads the plain fields below is computed again when it changes. */
  now = $state.raw(0);
  running = $state.raw(false);
  spells = $state.raw<Record<Row, Spell>>();

  tracks: Record<Row, Track> = {
    ping: new Track(),
    declared: new Track(),
    cached: new Track(),
    javascript: new Track(),
  };
  samples: Sample[] = [];
  /** The least difference of the page's clock and the server's that was seen: of a report that was quick. */
  #ahead = Infinity;
  #startedAt = 0;
  #open = false;
  /**
   * The browser's own times of the routes, from the request to the last byte of the answer. Those that
   * scripts take are of how busy this page is, too.
   */
  #browser?: PerformanceObserver;
  #stop = new AbortController();

  constructor(state: App.EngineState, stats: ProcessStats | undefined) {
    this.state = state;
    if (stats) this.samples.push(sampleOf(stats, 0));
  }

  /** Runs until the function that it returns is called. */
  start(): () => void {
    if (this.state.missing) return () => {};
    this.samples = [];
    this.#stop = new AbortController();
    this.#startedAt = performance.now();
    this.running = true;
    // The store begins with the last report of an earlier visit, if there was one.
    let late = true;
    const ends = [
      status.subscribe((value) => (this.#open = value === 'open')),
      on<App.EngineReport>('engine', 'report').subscribe((event) => {
        if (event && !late) this.#take(event.data);
      }),
    ];
    late = false;
    const timer = setInterval(() => this.#draw(), DRAW_EVERY_MS);
    void this.#repeat(FIGURES_EVERY_MS, () => this.#figures());
    for (const row of ROUTES)
      void this.#repeat(ASK_EVERY_MS, () => this.#asked(row, () => this.#fetch(urlOf(row))));
    void this.#repeat(ASK_EVERY_MS, () => this.#asked('javascript', () => this.#call()));
    this.#browser = new PerformanceObserver((list) => this.#timed(list));
    this.#browser.observe({ type: 'resource' });
    return () => {
      this.running = false;
      this.#stop.abort();
      clearInterval(timer);
      this.#browser?.disconnect();
      for (const end of ends) end();
    };
  }

  /** The minute that is shown; at first less, so that there is something to see. */
  get span(): number {
    return Math.min(SPAN_MS, Math.max(SPAN_LEAST_MS, this.now - this.#startedAt));
  }

  gauge(name: Gauge): Point[] {
    void this.now;
    return this.samples.map(({ t, gauges }) => ({ t, v: gauges[name] }));
  }

  /** How much a counter has grown in each second. */
  rate(name: Counter): Point[] {
    void this.now;
    let from = 0;
    return this.samples.slice(1).map(({ t, counters }, index) => {
      while (from < index && this.samples[from + 1].t <= t - RATE_MS) from++;
      const earlier = this.samples[from];
      return { t, v: ((counters[name] - earlier.counters[name]) * 1000) / (t - earlier.t) };
    });
  }

  total(name: Counter): number | undefined {
    void this.now;
    return this.samples.at(-1)?.counters[name];
  }

  /** The time in which JavaScript was blocked, by the page's clock. */
  get blocked(): { from: number; until: number } | undefined {
    const { block } = this.state;
    if (!block || this.#ahead === Infinity) return undefined;
    const from = block.from + this.#ahead;
    return { from, until: from + block.ms };
  }

  /** One thing after another, and nothing while the page is hidden or the server is away. */
  async #repeat(every: number, act: () => Promise<unknown>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const from = performance.now();
      // It is tried again: the server may restart.
      if (this.#open && !document.hidden) await act().catch(() => {});
      const rest = Math.max(every / 5, every - (performance.now() - from));
      await new Promise((resolve) => setTimeout(resolve, rest));
    }
  }

  #timed(list: PerformanceObserverEntryList): void {
    for (const entry of list.getEntries() as PerformanceResourceTiming[]) {
      const row = ROUTES.find((one) => entry.name === new URL(urlOf(one), location.href).href);
      if (row && entry.responseStatus === 200)
        this.tracks[row].add(entry.requestStart, entry.responseEnd - entry.requestStart);
    }
  }

  async #asked(row: Row, ask: () => Promise<unknown>): Promise<void> {
    const track = this.tracks[row];
    track.waitingSince = performance.now();
    try {
      await ask();
    } finally {
      track.waitingSince = undefined;
    }
  }

  async #call(): Promise<void> {
    const from = performance.now();
    await probe();
    this.tracks.javascript.add(from, performance.now() - from);
  }

  async #fetch(path: string, headers: Record<string, string> = {}): Promise<Response> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const response = await fetch(path, { headers, signal, cache: 'no-store' });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    if (!headers.accept) await response.text();
    return response;
  }

  async #figures(): Promise<void> {
    const response = await this.#fetch('/engine/metrics', { accept: 'application/json' });
    const sample = sampleOf((await response.json()) as ProcessStats, performance.now());
    const last = this.samples.at(-1);
    // A server that was started again counts from 0.
    if (last && sample.counters.requests < last.counters.requests) this.samples = [];
    this.samples.push(sample);
  }

  #take({ sentAt, state, pings }: App.EngineReport): void {
    this.state = state;
    this.#ahead = Math.min(this.#ahead, performance.now() - sentAt);
    for (const [at, took] of pings) this.tracks.ping.add(at + this.#ahead, took);
  }

  #draw(): void {
    const now = performance.now();
    for (const track of Object.values(this.tracks)) track.forget(now - SPAN_MS);
    const from = this.samples.findIndex(({ t }) => t >= now - SPAN_MS);
    if (from > 0) this.samples.splice(0, from);
    const { blocked } = this;
    if (blocked && now > blocked.from && now < blocked.until + LATE_MS) {
      const spell = (row: Row) => spellOf(this.tracks[row], blocked.from, blocked.until, now);
      this.spells = {
        ping: spell('ping'),
        declared: spell('declared'),
        cached: spell('cached'),
        javascript: spell('javascript'),
      };
    }
    this.now = now;
  }
}
