/**
 * Runs one benchmark (test/bench/NAME.bench.ts) and prints its figures.
 *
 * ```text
 *   npm run -s bench                   the names
 *   npm run -s bench -- NAME           a table
 *   npm run -s bench -- NAME OPTION…   a longer or another run, where the bench says so
 *   npm run -s bench -- NAME --json    {"bench","rows":[{"figure","value","unit","against","ratio",
 *                                      "better","floor","target",…}]}
 * ```
 *
 * Figures go to stdout, progress to stderr. Exit code 1 when a figure is worse than its floor.
 */
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { holdsFloor, reachesTarget } from './bench.ts'
import type { Bench, BenchRow } from './bench.ts'

const ending = '.bench.ts'

const args = process.argv.slice(2)
const json = args.includes('--json')
const [name, ...more] = args.filter((arg) => arg !== '--json')
const names = globSync(`*${ending}`, { cwd: import.meta.dirname })
  .map((file) => basename(file, ending))
  .sort()

if (name === undefined) await list()
else if (!names.includes(name) || (more.length > 0 && (await load(name)).usage === undefined)) refuse()
else await run(name, more)
// A measured node may leave sockets open; the figures are out.
process.exit()

async function load(benchName: string): Promise<Bench> {
  const module = await import(join(import.meta.dirname, `${benchName}${ending}`)) as { bench: Bench }
  return module.bench
}

async function list(): Promise<void> {
  if (json) return print(JSON.stringify({ benches: names }))
  const width = Math.max(0, ...names.map((one) => one.length))
  for (const one of names) {
    const { about, usage } = await load(one)
    print(`${one.padEnd(width)}  ${about}${usage === undefined ? '' : ` (${usage})`}`)
  }
}

function refuse(): void {
  process.stderr.write(`usage: npm run -s bench -- NAME [--json]; the names are: ${names.join(', ')}\n`)
  process.exitCode = 2
}

async function run(benchName: string, args: readonly string[]): Promise<void> {
  const bench = await load(benchName)
  const rows = await bench.run({ args, say: (line) => { process.stderr.write(`${line}\n`) } })
  print(json ? JSON.stringify({ bench: benchName, rows: rows.map(complete) }) : table(rows))
  const failed = rows.filter((row) => !holdsFloor(row))
  for (const row of failed) process.stderr.write(`below its floor: ${row.figure}\n`)
  if (failed.length > 0) process.exitCode = 1
}

/** Every row has every field, so that scripts need not ask. */
function complete(row: BenchRow): object {
  const { figure, value, unit, against = null, againstValue = null, ratio = null, better } = row
  const { floor = null, target = null } = row
  return { figure, value, unit, against, againstValue, ratio, better, floor, target }
}

function table(rows: readonly BenchRow[]): string {
  const head = ['figure', 'value', 'unit', 'against', 'its value', 'ratio', 'floor', 'target', '']
  const cells = rows.map((row) => [
    row.figure, digits(row.value), row.unit, row.against ?? '', digits(row.againstValue), digits(row.ratio),
    bound(row, row.floor), bound(row, row.target), verdict(row),
  ])
  const lines = [head, ...cells]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  const pad = (cell: string, column: number): string => cell.padEnd(widths[column]!)
  return lines.map((line) => line.map(pad).join('  ').trimEnd()).join('\n')
}

function verdict(row: BenchRow): string {
  if (!holdsFloor(row)) return 'BELOW FLOOR'
  if (row.floor === undefined && row.target === undefined) return ''
  return reachesTarget(row) ? 'target reached' : 'floor held'
}

function bound(row: BenchRow, value: number | undefined): string {
  return value === undefined ? '' : `${row.better === 'higher' ? '≥' : '≤'} ${digits(value)}`
}

/** Three significant digits; nobody measured more. */
function digits(value: number | undefined): string {
  if (value === undefined) return ''
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(3)))
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
