/**
 * A real node for scenes: the CLI in a child process, with its data in a temp folder, talked to by
 * the commands and the control socket a person's tools would use. Loopback only, ports picked by
 * the system, every process ended by its pid.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { ControlClient } from '../../cli/control-client.ts'

const cliPath = new URL('../../cli/openim.ts', import.meta.url).pathname

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** First line of stdout as JSON, when it is. */
  readonly json: Record<string, unknown>
}

export interface ReadyLine {
  readonly event: 'ready'
  readonly pid: number
  readonly address: string
  /** This and what follows: of a node only. */
  readonly nodeId: string
  readonly p2p: string[]
  readonly listen: Readonly<Partial<Record<'tcp' | 'xmpp' | 'xmpps' | 'xmpp-web', string>>>
}

/** As a person's shell has it: what npm adds when it runs the tests changes what the CLI advises. */
function personalEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
}

/** Runs the CLI once and waits for its end. */
export async function runCli(
  args: readonly string[],
  options: { input?: string, env?: NodeJS.ProcessEnv } = {},
): Promise<CliResult> {
  const child = spawn(process.execPath, [cliPath, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'], env: { ...personalEnv(), ...options.env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => { stdout += chunk })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => { stderr += chunk })
  child.stdin.end(options.input ?? '')
  const [code] = await once(child, 'close') as [number | null]
  return { code, stdout, stderr, json: parsedLine(stdout) }
}

function parsedLine(stdout: string): Record<string, unknown> {
  try {
    return JSON.parse(stdout.split('\n', 1)[0] ?? '') as Record<string, unknown>
  } catch {
    return {}
  }
}

export class CliNode {
  readonly name: string
  readonly dataDir: string
  #process: ChildProcess | undefined
  #ready: ReadyLine | undefined
  #stderr = ''

  private constructor(name: string, dataDir: string) {
    this.name = name
    this.dataDir = dataDir
  }

  /** A fresh identity in a temp folder. */
  static async init(name: string, extra: readonly string[] = []): Promise<CliNode> {
    const dataDir = join(await mkdtemp(join(tmpdir(), 'openim-scene-')), 'data')
    const node = new CliNode(name, dataDir)
    const result = await node.run(['init', '--name', name, ...extra])
    if (result.code !== 0) throw new Error(`init failed (${result.code}): ${result.stderr}`)
    return node
  }

  /** Another node on a copy of a stopped node's directory, as somebody makes who moves a disk. */
  static async copyOf(original: CliNode): Promise<CliNode> {
    const dataDir = join(await mkdtemp(join(tmpdir(), 'openim-scene-')), 'data')
    await cp(original.dataDir, dataDir, { recursive: true })
    return new CliNode(original.name, dataDir)
  }

  /** Nothing is there yet; for `backup restore` and `init --recover`. */
  static async empty(name: string): Promise<CliNode> {
    return new CliNode(name, join(await mkdtemp(join(tmpdir(), 'openim-scene-')), 'data'))
  }

  get ready(): ReadyLine {
    if (this.#ready === undefined) throw new Error(`${this.name} is not running`)
    return this.#ready
  }

  /** It was ready once. */
  get isKnown(): boolean {
    return this.#ready !== undefined
  }

  /** It runs, or is frozen. */
  get isRunning(): boolean {
    const child = this.#process
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }

  get pid(): number {
    return this.ready.pid
  }

  get stderr(): string {
    return this.#stderr
  }

  /** Starts the node and waits for its ready line. */
  async start(bootstrap: readonly string[] = [], extra: readonly string[] = []): Promise<ReadyLine> {
    return await this.#launch([
      '--p2p-listen', this.#listen(), ...bootstrap.flatMap((address) => ['--bootstrap', address]), ...extra,
    ])
  }

  /** The same of a linked device (cli-link.ts), which listens nowhere. */
  async startDevice(): Promise<ReadyLine> {
    return await this.#launch([])
  }

  async #launch(options: readonly string[]): Promise<ReadyLine> {
    const args = [cliPath, 'start', '--json', '--data', this.dataDir, ...options]
    // Other tests on this machine are no neighbours of ours.
    const env = { ...process.env, OPENIM_MDNS: 'false' }
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
    this.#process = child
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr = (this.#stderr + chunk).slice(-20_000)
    })
    const lines = createInterface({ input: child.stdout })
    const ended = once(child, 'exit').then(([code]) => {
      throw new Error(`${this.name} ended with ${String(code)} before it was ready: ${this.#stderr}`)
    })
    const [line] = await Promise.race([once(lines, 'line'), ended]) as [string]
    ended.catch(() => {})
    this.#ready = JSON.parse(line) as ReadyLine
    return this.#ready
  }

  /** The same port after a restart, so that others find it where it was. */
  #listen(): string {
    const port = /\/tcp\/(\d+)/.exec(this.#ready?.p2p[0] ?? '')?.[1] ?? '0'
    return `/ip4/127.0.0.1/tcp/${port}`
  }

  /** Orderly: SIGTERM, and its exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM')
  }

  /** Power off. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#process
    if (child === undefined) return null
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
    child.kill(signal)
    // A stopped (SIGSTOP) process only hears SIGKILL.
    const [code] = await once(child, 'close') as [number | null]
    this.#process = undefined
    return code
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  run(args: readonly string[], options: { input?: string } = {}): Promise<CliResult> {
    return runCli([...args, '--json', '--data', this.dataDir], options)
  }

  /** The control socket, as the CLI uses it: for loads that would be slow as one process a message. */
  control(): Promise<ControlClient> {
    return ControlClient.connect(this.dataDir)
  }

  /** Ends the process, if any, and removes its files. */
  async remove(): Promise<void> {
    await this.#end('SIGKILL')
    await rm(join(this.dataDir, '..'), { recursive: true, force: true })
  }
}

/** Asks again until `probe` gives something; the outer time limit is the test's. */
export async function eventually<T>(
  probe: () => Promise<T | undefined>,
  options: { everyMs?: number, withinMs: number, what: string },
): Promise<T> {
  const deadline = performance.now() + options.withinMs
  for (;;) {
    const value = await probe()
    if (value !== undefined) return value
    if (performance.now() > deadline) throw new Error(`not within ${options.withinMs} ms: ${options.what}`)
    await new Promise((resolve) => setTimeout(resolve, options.everyMs ?? 100))
  }
}
