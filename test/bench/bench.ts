/**
 * What a benchmark is made of. A bench lives in `test/bench/NAME.bench.ts` and exports `bench`;
 * `npm run -s bench -- NAME` runs it (run.ts).
 *
 * Rates on shared machines say little, ratios do: whatever is compared is measured in the same
 * run, in interleaved rounds, so that a slow minute hits both sides.
 *
 * ```ts
 * export const bench: Bench = {
 *   about: 'sealing against a plain copy',
 *   async run() {
 *     const sides = await interleaved({ rounds: 5, sides: { seal: measureSeal, copy: measureCopy } })
 *     return [{
 *       figure: 'messages sealed', unit: '1/s', better: 'higher', floor: 0.1, target: 0.3,
 *       ...compare(sides, 'seal', { against: 'copy', name: 'a plain copy' }),
 *     }]
 *   },
 * }
 * ```
 */

export interface BenchRow {
  /** What was measured, in words. */
  readonly figure: string
  readonly value: number
  readonly unit: string
  /** What it is compared with, and what that measured in this run, in the same unit. */
  readonly against?: string
  readonly againstValue?: number
  /** value ÷ againstValue. */
  readonly ratio?: number
  readonly better: 'higher' | 'lower'
  /** Of the ratio, or of the value where there is none: worse than the floor is a failure. */
  readonly floor?: number
  /** What we are after. */
  readonly target?: number
}

export interface Bench {
  /** One line for the list of names. */
  readonly about: string
  /** What may stand behind its name, for people; other benches take nothing. */
  readonly usage?: string
  run(context: BenchContext): Promise<readonly BenchRow[]>
}

export interface BenchContext {
  /** Progress for people, on stderr. */
  say(line: string): void
  /** What stood behind the name. */
  readonly args: readonly string[]
}

/** One measurement per round and side. */
export type Rounds<Side extends string> = Readonly<Record<Side, readonly number[]>>

/**
 * Measures each side once a round, in turns, every second round backwards, so that neither side
 * always comes first. One round before the first is thrown away (compilation, caches).
 */
export async function interleaved<Side extends string>(options: {
  rounds: number
  sides: Readonly<Record<Side, () => Promise<number> | number>>
}): Promise<Rounds<Side>> {
  const names = Object.keys(options.sides) as Side[]
  const results = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Side, number[]>
  for (let round = 0; round <= options.rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const value = await options.sides[name]()
      if (round > 0) results[name].push(value)
    }
  }
  return results
}

/** The figures of a row: medians, and the median of the ratios round by round. */
export function compare<Side extends string>(
  rounds: Rounds<Side>, side: Side, other: { against: Side, name: string },
): { value: number, against: string, againstValue: number, ratio: number } {
  const ratios = rounds[side].map((value, round) => value / rounds[other.against][round]!)
  return {
    value: median(rounds[side]),
    against: other.name,
    againstValue: median(rounds[other.against]),
    ratio: median(ratios),
  }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** Nearest rank; `percent` in (0, 100]. NaN when there are no values. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN
}

/** Real milliseconds that `work` took. */
export async function elapsedMs(work: () => Promise<unknown> | unknown): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** How often a second `work` runs, over at least `forMs`. */
export async function perSecond(work: () => Promise<unknown> | unknown, forMs: number): Promise<number> {
  const start = performance.now()
  let count = 0
  let now = start
  while (now - start < forMs) {
    const done = work()
    // Synchronous work is not made to pay for an await.
    if (done instanceof Promise) await done
    count++
    now = performance.now()
  }
  return (count * 1_000) / (now - start)
}

/** True unless the row is worse than its floor. */
export function holdsFloor(row: BenchRow): boolean {
  return row.floor === undefined || !isWorse(row, row.floor)
}

export function reachesTarget(row: BenchRow): boolean {
  return row.target === undefined || !isWorse(row, row.target)
}

function isWorse(row: BenchRow, bound: number): boolean {
  const measured = row.ratio ?? row.value
  return !(row.better === 'higher' ? measured >= bound : measured <= bound)
}
