/** The measurements of the last minute. Times are those of the page's clock, in milliseconds. */

export const SPAN_MS = 60_000;

export interface Point {
  t: number;
  v: number;
}

/** One row of latencies. A point is when something was asked, and how long the answer took. */
export class Track {
  points: Point[] = [];
  /** When the question was asked that is not answered yet. */
  waitingSince: number | undefined;

  add(t: number, v: number) {
    this.points.push({ t, v });
  }

  forget(before: number) {
    const from = this.points.findIndex(({ t }) => t >= before);
    if (from > 0) this.points.splice(0, from);
  }

  /** The latest, or how long the present question has been waiting, if that is longer. */
  latest(now: number): number | undefined {
    const last = this.points.at(-1)?.v;
    const waiting = this.waitingSince === undefined ? 0 : now - this.waitingSince;
    return last === undefined || waiting > last ? waiting || undefined : last;
  }

  since(t: number): number[] {
    return this.points.filter((point) => point.t >= t).map(({ v }) => v);
  }
}

/** How a row fared while JavaScript was blocked. */
export interface Spell {
  /** Questions that were asked and answered in that time, and the median of their latencies. */
  answers: number;
  median: number | undefined;
  /** The longest that a question of that time has waited. */
  worst: number | undefined;
}

export function spellOf(track: Track, from: number, until: number, now: number): Spell {
  const during = track.points.filter(({ t, v }) => t < until && t + v > from);
  const answered = during.filter(({ t, v }) => t >= from && t + v <= until).map(({ v }) => v);
  const waits = during.map(({ v }) => v);
  const { waitingSince } = track;
  if (waitingSince !== undefined && waitingSince < until) waits.push(now - waitingSince);
  return { answers: answered.length, median: median(answered), worst: maximum(waits) };
}

export function median(values: number[]): number | undefined {
  return values.toSorted((left, right) => left - right)[values.length >> 1];
}

export function maximum(values: number[]): number | undefined {
  return values.length === 0 ? undefined : Math.max(...values);
}
