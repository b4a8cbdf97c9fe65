/** How long a person waits: `openim --help`, and `openim start` until it is ready, from nothing. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compare, interleaved } from './bench.ts'
import type { BenchRow } from './bench.ts'

const cliPath = new URL('../../cli/openim.ts', import.meta.url).pathname
const rounds = 5

/** Milliseconds until `until` says so of the output, or until the end. */
async function run(args: readonly string[], until?: (output: string) => boolean): Promise<number> {
  const startMs = performance.now()
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  let output = ''
  const ready = new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
      if (until?.(output) === true) resolve()
    })
  })
  await Promise.race(until === undefined ? [ended] : [ended, ready])
  const tookMs = performance.now() - startMs
  if (until !== undefined) child.kill('SIGTERM')
  const [code] = await ended as [number | null]
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${output}`)
  return tookMs
}

export async function startRows(): Promise<BenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'openim-bench-'))
  try {
    const data = ['--data', join(directory, 'data'), '--json']
    await run([cliPath, 'init', '--name', 'bench', ...data])
    const start = [cliPath, 'start', ...data, '--p2p-listen', '/ip4/127.0.0.1/tcp/0']
    const measured = await interleaved({
      rounds,
      sides: {
        node: () => run(['--eval', '0']),
        help: () => run([cliPath, '--help']),
        start: () => run(start, (output) => output.includes('"ready"')),
      },
    })
    const bare = { against: 'node', name: 'node with nothing to do' } as const
    const row = { unit: 'ms', better: 'lower' } as const
    return [
      { figure: 'openim --help', ...row, ...compare(measured, 'help', bare) },
      { figure: 'openim start until ready', ...row, ...compare(measured, 'start', bare) },
    ]
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
