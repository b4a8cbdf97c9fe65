/**
 * The one way to write a test: `suite(name)` over uvu, with the holes of uvu 0.5.6 closed.
 *
 * uvu alone ends green on a forgotten `.run()`, a throwing `before` or `after.each` and a stray
 * `.only`; it has no time limit and lets a leaked socket hang the process for ever. Here
 *
 * - a suite that never runs, or stops half-way, fails the process at its exit;
 * - hooks are part of what must pass, and each test and hook has a time limit;
 * - `only` does not exist (run one file instead: `node test/run.ts FILE`);
 * - after a suite nothing may keep the process alive that was not there before: servers, sockets,
 *   timers, child processes are named and fail it;
 * - skips carry a reason, and fail in CI unless they may be missing there.
 *
 * uvu keeps what it is good at: the assertions, the diffs, the dots. Its own queue and hooks are
 * bypassed (`UVU_DEFER`), because that is where the holes are.
 *
 * ```ts
 * const test = suite('crypto/ratchet')
 * test('refuses a frame longer than the limit', async () => { … })
 * test.skipUnless(prosody !== undefined, 'prosody is not installed')('talks to Prosody', …)
 * test.run()
 * ```
 *
 * The runner (test/run.ts) reads results from the file named by `OPENIM_TEST_REPORT`, one JSON
 * object a line, so that a crash loses nothing.
 */
import { appendFileSync } from 'node:fs'
import { leaksSince, resourcesNow } from './resources.ts'

/** Default limit of one test or hook. */
const timeoutMsDefault = 30_000
/** Sockets and servers close in the event loop; they get this long after a suite. */
const leakGraceMsDefault = 2_000
/** After the last suite, a process kept alive by a leak is ended. */
const exitGraceMs = 500
/** libp2p's own time-outs of closed connections; they end by themselves and hold nothing else. */
export const libp2pTimeoutMs = 11_000
/** A file may still be loading (top-level await) when its first suites are through. */
const loadGraceMs = 5_000

export type TestHandler = () => void | Promise<void>
export type Register = (name: string, handler: TestHandler) => void

export interface SuiteOptions {
  /** Limit of each test and each hook, in real time. */
  readonly timeoutMs?: number
  /**
   * How long after the suite its resources may take to go. Longer only for a foreign library that
   * closes on a timer of its own, and then at most that timer.
   */
  readonly leakGraceMs?: number
}

export interface SkipOptions {
  /** True: CI machines are not expected to have it. Otherwise a skip fails when `CI` is set. */
  readonly allowInCI?: boolean
}

export interface TestHook {
  (handler: TestHandler): void
  each(handler: TestHandler): void
}

export interface Suite {
  (name: string, handler: TestHandler): void
  before: TestHook
  /** Runs in reverse order of registration, also when tests failed. */
  after: TestHook
  /** Leaves a test out, loudly. */
  skip(reason: string, options?: SkipOptions): Register
  /** Registers tests that need something this machine may not have. */
  skipUnless(condition: boolean, reason: string, options?: SkipOptions): Register
  /** Last line of every test file. */
  run(): void
}

/** What the runner reads, one a line. */
export type TestEvent =
  | { readonly event: 'started', readonly suite: string, readonly test: string }
  /** Told again by `suite`, unless the process ends before. */
  | { readonly event: 'failed', readonly text: string }
  | {
    readonly event: 'suite'
    readonly suite: string
    readonly passed: number
    readonly failed: number
    readonly skipped: readonly { readonly name: string, readonly reason: string }[]
    readonly failures: readonly string[]
  }
  /** All suites of the file came to their end. */
  | { readonly event: 'finished', readonly unrun: readonly string[] }

interface UvuSuite {
  (name: string, handler: TestHandler): void
  run(): void
}
/** [error text or true, passed, skipped, total] */
type UvuRunner = () => Promise<[string | true, number, number, number]>

// Taken before any test can replace them.
const { setTimeout, clearTimeout } = globalThis

const uvuGlobals = globalThis as { UVU_DEFER?: number, UVU_QUEUE?: UvuRunner[][] }
uvuGlobals.UVU_DEFER = 1
uvuGlobals.UVU_QUEUE = [[]]
const uvu = await import('uvu')

const suites: HarnessSuite[] = []
let queue: Promise<void> = Promise.resolve()
let failedAnything = false
const exitNow = process.exit.bind(process)

export function suite(name: string, options: SuiteOptions = {}): Suite {
  const own = new HarnessSuite(name, options)
  suites.push(own)
  return own.face()
}

class HarnessSuite {
  readonly name: string
  readonly #timeoutMs: number
  readonly #leakGraceMs: number
  readonly #uvu: UvuSuite
  readonly #before: TestHandler[] = []
  readonly #after: TestHandler[] = []
  readonly #beforeEach: TestHandler[] = []
  readonly #afterEach: TestHandler[] = []
  readonly #skipped: { name: string, reason: string }[] = []
  readonly #forbiddenSkips: string[] = []
  #tests = 0
  state: 'written' | 'queued' | 'done' = 'written'

  constructor(name: string, options: SuiteOptions) {
    this.name = name
    this.#timeoutMs = options.timeoutMs ?? timeoutMsDefault
    this.#leakGraceMs = options.leakGraceMs ?? leakGraceMsDefault
    this.#uvu = uvu.suite(name) as unknown as UvuSuite
  }

  face(): Suite {
    const skip = (reason: string, options: SkipOptions = {}) => (name: string): void => {
      this.#skipped.push({ name, reason })
      if (process.env['CI'] && options.allowInCI !== true) this.#forbiddenSkips.push(`"${name}": ${reason}`)
    }
    const register = (name: string, handler: TestHandler): void => this.#register(name, handler)
    return Object.assign(register.bind(undefined), {
      before: hook(this.#before, this.#beforeEach),
      after: hook(this.#after, this.#afterEach),
      skip,
      skipUnless: (condition: boolean, reason: string, options: SkipOptions = {}) =>
        condition ? register : skip(reason, options),
      only: (): never => {
        throw new Error(`${this.name}: there is no test.only; run one file with: node test/run.ts FILE`)
      },
      run: () => this.#enqueue(),
    })
  }

  #register(name: string, handler: TestHandler): void {
    if (this.state !== 'written') {
      throw new Error(`${this.name}: "${name}" comes after test.run() and would never run`)
    }
    this.#tests++
    this.#uvu(name, async () => {
      report({ event: 'started', suite: this.name, test: name })
      let failure: { readonly error: unknown } | undefined
      try {
        for (const each of this.#beforeEach) await this.#limited('before.each', each)
        await this.#limited('the test', handler)
      } catch (error) {
        failure = { error }
      }
      for (const each of this.#afterEach) {
        try {
          await this.#limited('after.each', each)
        } catch (error) {
          failure ??= { error }
        }
      }
      if (failure === undefined) return
      const error = asError(failure.error)
      report({ event: 'failed', text: withoutOwnFrames(failureText(this.name, name, error)) })
      throw error
    })
  }

  #enqueue(): void {
    if (this.state !== 'written') throw new Error(`${this.name}: test.run() was called twice`)
    this.state = 'queued'
    this.#uvu.run()
    const run = uvuGlobals.UVU_QUEUE![0]!.pop()!
    queue = queue.then(() => this.#execute(run)).then(finishWhenIdle)
  }

  async #execute(run: UvuRunner): Promise<void> {
    const resources = resourcesNow()
    const failures: string[] = []
    let passed = 0
    let failed = 0
    const attempt = async (what: string, handler: TestHandler): Promise<boolean> => {
      try {
        await this.#limited(what, handler)
        return true
      } catch (error) {
        failed++
        failures.push(failureText(this.name, what, error))
        return false
      }
    }

    let ready = true
    for (const handler of this.#before) ready &&= await attempt('before', handler)
    if (ready) {
      const [errors, done, , total] = await run()
      passed += done
      failed += total - done
      if (errors !== true) failures.push(errors)
    } else {
      failed += this.#tests
      process.stdout.write(` ${this.name}: before failed, ${this.#tests} tests not run\n`)
    }
    for (const handler of this.#after.toReversed()) await attempt('after', handler)
    if (this.#tests + this.#skipped.length === 0) {
      await attempt('suite', () => { throw new Error('holds no tests; write one or delete the file') })
    }
    for (const reason of this.#forbiddenSkips) {
      await attempt('skip', () => {
        throw new Error(`skipped in CI: ${reason}; install what is missing or mark the skip allowInCI`)
      })
    }
    const leaks = await leaksSince(resources, this.#leakGraceMs)
    if (leaks !== '') {
      await attempt('leak', () => { throw new Error(`left open: ${leaks}; close it in after()`) })
    }

    this.#finish({ passed, failed, failures })
  }

  #finish(result: { passed: number, failed: number, failures: string[] }): void {
    this.state = 'done'
    if (result.failed > 0) failedAnything = true
    const failures = result.failures.map(withoutOwnFrames)
    for (const failure of failures) process.stdout.write(`\n${failure}\n`)
    for (const { name, reason } of this.#skipped) process.stdout.write(`  SKIPPED "${name}": ${reason}\n`)
    report({ event: 'suite', suite: this.name, skipped: this.#skipped, ...result, failures })
  }

  async #limited(what: string, handler: TestHandler): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined
    try {
      await Promise.race([
        handler(),
        new Promise<never>((_resolve, reject) => {
          timer = setTimeout(() => {
            reject(new Error(`${what} took more than ${this.#timeoutMs} ms (it may never settle)`))
          }, this.#timeoutMs)
        }),
      ])
    } finally {
      clearTimeout(timer)
    }
  }
}

function hook(once: TestHandler[], each: TestHandler[]): TestHook {
  return Object.assign((handler: TestHandler): void => { once.push(handler) }, {
    each: (handler: TestHandler): void => { each.push(handler) },
  })
}

/**
 * What uvu can report: it needs `name` and `stack`, and somebody may throw a string. It prints the
 * message and then the stack, which begins with the message again; of that one line is enough.
 * `details` must be text to uvu (a diff); an error whose details are an object would end its report
 * and the suite with it, so such an error is told in one of our own.
 */
function asError(thrown: unknown): Error {
  const error = reportable(thrown)
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  error.stack = [error.name, ...frames].join('\n')
  return error
}

function reportable(thrown: unknown): Error {
  if (!(thrown instanceof Error)) return new Error(`threw ${String(thrown)}, which is not an Error`)
  const { code, details } = thrown as { code?: unknown, details?: unknown }
  if (details === undefined || typeof details === 'string') return thrown
  const told = new Error(`${String(code)}: ${thrown.message} ${JSON.stringify(details)}`)
  if (thrown.stack !== undefined) told.stack = thrown.stack
  return told
}

function failureText(suiteName: string, what: string, error: unknown): string {
  const { message, stack } = asError(error)
  const frames = stack!.split('\n').slice(1)
  return `   FAIL  ${suiteName}  "${what}"\n    ${message}\n\n${frames.join('\n')}\n`
}

/** Leaves the frames that say where in our code it went wrong. */
function withoutOwnFrames(failure: string): string {
  const foreign = /^\s+at .*(?:test\/helpers\/harness\.ts|node_modules\/uvu\/|\(node:|\snode:)/
  return failure.split('\n').filter((line) => !foreign.test(line)).join('\n').trimEnd()
}

function report(event: TestEvent): void {
  const path = process.env['OPENIM_TEST_REPORT']
  if (path) appendFileSync(path, `${JSON.stringify(event)}\n`)
}

/** A leak may keep the process alive for ever; it was reported, so the process can go. */
function finishWhenIdle(): void {
  const written = suites.some((one) => one.state === 'written')
  setTimeout(() => {
    if (suites.every((one) => one.state !== 'queued')) exitNow()
  }, written ? loadGraceMs : exitGraceMs).unref()
}

process.on('exit', (code) => {
  const unrun = suites.filter((one) => one.state !== 'done')
  for (const { name, state } of unrun) {
    const cure = state === 'written'
      ? 'end the file with test.run()'
      : 'the process ended before its tests did'
    process.stdout.write(`\n   FAIL  ${name} did not run: ${cure}\n`)
  }
  if (suites.length > 0) report({ event: 'finished', unrun: unrun.map((one) => one.name) })
  if (unrun.length > 0 || failedAnything) process.exitCode = code || 1
})
