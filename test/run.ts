/**
 * Runs test files, each in a process of its own: globals cannot leak from file to file, a crash or
 * an endless loop costs one file, and a limit can be enforced from outside.
 *
 * ```text
 *   node test/run.ts                    everything
 *   node test/run.ts --fast             without the slow ones (`slowPaths`)
 *   node test/run.ts test/crypto FILE   these folders and files
 * ```
 *
 * The last line is `N passed, N failed` or `N passed, N failed, N skipped`, alone, for machines to
 * read. Exit code 1 when anything failed or nothing ran.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import type { TestEvent } from './helpers/harness.ts'

const root = resolve(import.meta.dirname, '..')
/** Many processes, real networks, long simulations, 10⁵ cases: minutes, not seconds. */
const slowPaths = [
  'test/scenes', 'test/simulation', 'test/interop', 'test/fuzz',
  'test/crypto/mutations', 'test/crypto/secure-session-soak.test.ts',
  'test/crypto/attacks/clients-crash.test.ts',
  'test/cli/transcripts.test.ts',
  'test/node/damage.test.ts', 'test/node/overlay/libp2p-overlay.test.ts',
  'test/node/storage/redis-store.test.ts',
  'test/compliance/connector-udp.test.ts', 'test/node/connectors/udp-connector.test.ts',
  'test/compliance/overlay-libp2p.test.ts',
  'test/compliance/store-postgresql.test.ts', 'test/compliance/store-mariadb.test.ts',
  'test/compliance/store-redis.test.ts', 'test/node/storage/redis-faults.test.ts',
  'test/node/storage/sql-faults.test.ts', 'test/node/storage/sql-races.test.ts',
  'test/node/storage/sql-damage.test.ts', 'test/node/storage/shared-full.test.ts',
  'test/node/storage/slow-sync.test.ts', 'test/node/storage/flood.test.ts',
  'test/node/storage/level-power.test.ts', 'test/node/store-moves.test.ts',
  'test/node/storage/sql-tls.test.ts',
  'test/bridges/xmpp/bad-inputs.test.ts', 'test/bridges/xmpp/xmpp-bridge.test.ts',
  'test/bridges/xmpp/c2s/xmpp-connector.test.ts', 'test/bridges/xmpp/c2s/negotiation-fuzz.test.ts',
  'test/bridges/xmpp/rfc6121-scenes.test.ts', 'test/bridges/xmpp/xeps/services.test.ts',
  'test/bridges/xmpp/xeps/xep-0050-commands.test.ts',
  'test/bridges/xmpp/xeps/xep-0077-registration.test.ts',
  'test/bridges/xmpp/xeps/xep-0357-push.test.ts', 'test/bridges/xmpp/upload/upload.test.ts',
  'test/bridges/xmpp/openim', 'test/bridges/xmpp/s2s/gateway.test.ts',
  'test/bridges/xmpp/xml/stream-fuzz.test.ts',
  'test/protocol/client/storm.test.ts',
  'test/protocol/client/devices-crash.test.ts', 'test/protocol/client/devices-crash-new.test.ts',
  'test/protocol/client/devices-crash-family.test.ts',
]
const fileLimitMs = 120_000
const slowFileLimitMs = 600_000
/** After a file's process exits, its output may still be under way in the pipe. */
const outputGraceMs = 1_000
/** More than this of a file's output says nothing more. */
const outputCharactersMax = 200_000
const processesMax = Math.max(1, Math.min(2, availableParallelism()))

interface FileResult {
  readonly file: string
  readonly passed: number
  readonly failed: number
  readonly skipped: readonly string[]
  readonly failures: readonly string[]
  readonly seconds: number
}

const running = new Set<ChildProcess>()

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    for (const child of running) killGroup(child)
    process.exit(130)
  })
}

await main(process.argv.slice(2))

async function main(args: readonly string[]): Promise<void> {
  const unknown = args.find((arg) => arg.startsWith('-') && arg !== '--fast')
  if (unknown !== undefined) {
    process.stderr.write(`unknown option ${unknown}; usage: node test/run.ts [--fast] [FILE|FOLDER|GLOB]…\n`)
    process.exitCode = 2
    return
  }
  const files = testFiles(args.filter((arg) => !arg.startsWith('-')), args.includes('--fast'))
  const results = await runAll(files)
  summarise(results)
}

function isSlow(file: string): boolean {
  return slowPaths.some((path) => file === path || file.startsWith(`${path}/`))
}

/** Paths from the project's root, the slow ones first so that none is left to run alone at the end. */
function testFiles(targets: readonly string[], fast: boolean): string[] {
  const patterns = targets.length === 0 ? ['test'] : targets
  const found = new Set<string>()
  for (const pattern of patterns) {
    const path = resolve(pattern)
    const info = statSync(path, { throwIfNoEntry: false })
    const matches = info?.isFile() ? [path]
      : info?.isDirectory() ? globSync('**/*.test.ts', { cwd: path }).map((name) => join(path, name))
      : globSync(pattern).map((name) => resolve(name))
    for (const match of matches) found.add(relative(root, match))
  }
  return [...found]
    .filter((file) => !(fast && isSlow(file)))
    .sort((a, b) => Number(isSlow(b)) - Number(isSlow(a)) || (a < b ? -1 : 1))
}

async function runAll(files: readonly string[]): Promise<FileResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'openim-test-'))
  const results: FileResult[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < files.length) {
      const index = next++
      const result = await runFile(files[index]!, join(folder, `${index}.jsonl`))
      results.push(result)
      const verdict = result.failed > 0 ? 'FAIL' : 'ok  '
      const counts = `${result.passed} passed${result.failed > 0 ? `, ${result.failed} failed` : ''}`
      process.stdout.write(`${verdict} ${result.file}  ${counts}  ${result.seconds.toFixed(1)} s\n`)
    }
  }
  try {
    await Promise.all(Array.from({ length: processesMax }, worker))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return results
}

async function runFile(file: string, reportPath: string): Promise<FileResult> {
  const limitMs = isSlow(file) ? slowFileLimitMs : fileLimitMs
  const startedAt = performance.now()
  // A group of its own, so that whatever the file starts can be ended with it.
  const child = spawn(process.execPath, [resolve(root, file)], {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, OPENIM_TEST_REPORT: reportPath },
  })
  running.add(child)
  let output = ''
  const collect = (chunk: string): void => { output = (output + chunk).slice(-outputCharactersMax) }
  child.stdout.setEncoding('utf8').on('data', collect)
  child.stderr.setEncoding('utf8').on('data', collect)
  const closed = new Promise<void>((done) => { child.once('close', () => { done() }) })
  const limit = setTimeout(() => { killGroup(child) }, limitMs)
  const exit = await new Promise<{ code: number | null, signal: string | null }>((done) => {
    child.once('error', (error) => {
      output += String(error)
      done({ code: 1, signal: null })
    })
    child.once('exit', (code, signal) => { done({ code, signal }) })
  })
  clearTimeout(limit)
  const elapsedMs = performance.now() - startedAt
  const leftBehind = killGroup(child)
  await Promise.race([closed, new Promise((done) => { setTimeout(done, outputGraceMs).unref() })])
  running.delete(child)

  const problems: string[] = []
  if (elapsedMs >= limitMs) problems.push(`took more than ${limitMs / 1_000} s and was ended`)
  else if (exit.signal !== null) problems.push(`was ended by ${exit.signal}`)
  else if (leftBehind) problems.push('left processes running; end them in after()')
  const events = readReport(reportPath)
  return judge({ file, events, exitCode: exit.code, problems, output, seconds: elapsedMs / 1_000 })
}

/** Kills what is left of the child's process group; true when there was any. */
function killGroup(child: ChildProcess): boolean {
  if (child.pid === undefined) return false
  try {
    process.kill(-child.pid, 'SIGKILL')
    return true
  } catch {
    return false
  }
}

function readReport(path: string): TestEvent[] {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return []
  return readFileSync(path, 'utf8').split('\n').filter((line) => line !== '')
    .map((line) => JSON.parse(line) as TestEvent)
}

function judge(run: {
  file: string
  events: readonly TestEvent[]
  exitCode: number | null
  problems: string[]
  output: string
  seconds: number
}): FileResult {
  let passed = 0
  let failed = 0
  const skipped: string[] = []
  const failures: string[] = []
  let finished = false
  let under: string | undefined
  /** Failures of a suite that has not come to its end. */
  let untold: string[] = []
  for (const event of run.events) {
    if (event.event === 'started') {
      under = `"${event.test}" of ${event.suite}`
    } else if (event.event === 'failed') {
      untold.push(event.text)
    } else if (event.event === 'suite') {
      under = undefined
      untold = []
      passed += event.passed
      failed += event.failed
      failures.push(...event.failures)
      for (const { name, reason } of event.skipped) skipped.push(`${event.suite}: "${name}": ${reason}`)
    } else {
      finished = true
      for (const name of event.unrun) run.problems.push(`${name} did not run; end the file with test.run()`)
    }
  }
  failed += untold.length
  failures.push(...untold)
  const { problems } = run
  if (run.events.length === 0) {
    problems.push('ran no suite; import suite from test/helpers/harness.ts and end with test.run()')
  } else if (!finished && problems.length === 0) {
    problems.push('ended before its tests did')
  } else if (run.exitCode !== 0 && failed === 0 && problems.length === 0) {
    problems.push(`exited with code ${run.exitCode}`)
  }
  if (problems.length > 0) {
    failed++
    const during = under === undefined ? '' : ` during ${under}`
    failures.push(`   FAIL  ${run.file}${during}: ${problems.join('; ')}\n${indented(run.output)}`)
  }
  return { file: run.file, passed, failed, skipped, failures, seconds: run.seconds }
}

function indented(output: string): string {
  return output.trim().split('\n').slice(-60).map((line) => `    | ${line}`).join('\n')
}

function summarise(results: readonly FileResult[]): void {
  const passed = results.reduce((sum, result) => sum + result.passed, 0)
  const failed = results.reduce((sum, result) => sum + result.failed, 0)
  const skipped = results.flatMap((result) => result.skipped)
  const lines: string[] = []
  for (const result of results.filter((one) => one.failed > 0)) {
    lines.push('', `── ${result.file}`, ...result.failures)
  }
  if (skipped.length > 0) lines.push('', ...skipped.map((what) => `SKIPPED ${what}`))
  if (passed + failed === 0) lines.push('', 'no test ran')
  const skips = skipped.length > 0 ? `, ${skipped.length} skipped` : ''
  const closing = `${passed} passed, ${failed} failed${skips}`
  process.stdout.write(`${lines.join('\n')}\n${closing}\n`)
  process.exitCode = failed > 0 || passed === 0 ? 1 : 0
}
