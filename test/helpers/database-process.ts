/**
 * A private server process for tests, a database or an XMPP server: data in a folder of its own, an
 * unprivileged user when we are root, gone at the end. What each server needs beyond that is in
 * postgresql-server.ts, mariadb-server.ts, redis-server.ts, prosody-server.ts and ejabberd-server.ts.
 */
import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)
/** `nobody` of Debian. */
export const nobody = 65_534
const startTries = 100

export interface DatabaseProgram {
  readonly name: string
  readonly program: string
  /** Options of the server for a folder, in which its socket lies, too. */
  args(folder: string): string[]
  /** What it says when it takes connections. */
  readonly ready: RegExp
  /** Makes an empty database in the folder, with a program or by writing what it reads. */
  readonly prepare: Preparation | ((folder: string) => Promise<void>)
  /** What ends it in order. */
  readonly stopSignal: NodeJS.Signals
}

export interface Preparation {
  readonly program: string
  args(folder: string): string[]
}

/** What the server is to suffer. */
export interface DatabaseGround {
  /** Besides the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>
  /** Its folder is a file system of that size. Only root can have one: `canMount`. */
  readonly diskMegabytes?: number
}

/** Whether a small file system can be had. */
export function canMount(): boolean {
  return process.platform === 'linux' && process.getuid?.() === 0
}

/** As the user whom servers accept: not root. */
function unprivileged(): { uid: number, gid: number } | undefined {
  return process.getuid?.() === 0 ? { uid: nobody, gid: nobody } : undefined
}

export class DatabaseProcess {
  readonly folder: string
  readonly #program: DatabaseProgram
  readonly #ground: DatabaseGround
  #child: ChildProcess | undefined

  private constructor(program: DatabaseProgram, folder: string, ground: DatabaseGround) {
    this.#program = program
    this.folder = folder
    this.#ground = ground
    process.on('exit', this.#killAtExit)
  }

  static async start(program: DatabaseProgram, ground: DatabaseGround = {}): Promise<DatabaseProcess> {
    const folder = await mkdtemp(join(tmpdir(), 'openim-database-'))
    const { diskMegabytes } = ground
    if (diskMegabytes !== undefined) {
      execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${diskMegabytes}m`, 'tmpfs', folder])
    }
    const user = unprivileged()
    if (user !== undefined) await chown(folder, user.uid, user.gid)
    const server = new DatabaseProcess(program, folder, ground)
    const { prepare } = program
    if (typeof prepare === 'function') await prepare(folder)
    else await execute(prepare.program, prepare.args(folder), { ...user, cwd: folder, timeout: 60_000 })
    await server.start()
    return server
  }

  get pid(): number {
    return this.#child!.pid!
  }

  /** It died of something. */
  get hasEnded(): boolean {
    return this.#child === undefined || isOver(this.#child)
  }

  /** After `kill`, too: what is left of the old server may hold it up for a moment. */
  async start(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const said = await this.#tryToStart()
      if (said === undefined) return
      if (tries === startTries) throw new Error(`${this.#program.name} did not start: ${said}`)
    }
  }

  /** A power cut for the server: nothing of it is left when it settles. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end(this.#program.stopSignal)
  }

  /** All of it: PostgreSQL has a process for each connection. */
  freeze(): void {
    const pids = this.#pids()
    for (const pid of pids) process.kill(pid, 'SIGSTOP')
    // The signal is on its way for a moment yet.
    while (!pids.every(isStopped));
  }

  thaw(): void {
    for (const pid of this.#pids()) process.kill(pid, 'SIGCONT')
  }

  async remove(): Promise<void> {
    await this.#end(this.#program.stopSignal)
    process.off('exit', this.#killAtExit)
    this.#unmount()
    await rm(this.folder, { recursive: true, force: true })
  }

  readonly #killAtExit = (): void => {
    this.#child?.kill('SIGKILL')
    this.#unmount()
  }

  /** Lazily: what it left of itself may take a moment to go. */
  #unmount(): void {
    if (this.#ground.diskMegabytes !== undefined) execFileSync('umount', ['-l', this.folder])
  }

  #pids(): number[] {
    const children = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8')
    return [this.pid, ...children.split(' ').filter((pid) => pid !== '').map(Number)]
  }

  /** What it said, if it ended instead. */
  async #tryToStart(): Promise<string | undefined> {
    const { program, args, ready } = this.#program
    const child = spawn(program, args(this.folder), {
      ...unprivileged(), cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#ground.env },
    })
    this.#child = child
    let said = ''
    const isReady = new Promise<true>((resolve) => {
      const hear = (chunk: Buffer): void => {
        said = (said + String(chunk)).slice(-20_000)
        if (ready.test(said)) resolve(true)
      }
      child.stdout.on('data', hear)
      child.stderr.on('data', hear)
    })
    const hasEnded = once(child, 'exit').then(() => false as const)
    if (await Promise.race([isReady, hasEnded])) return undefined
    this.#child = undefined
    return said
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child
    if (child === undefined) return
    this.#child = undefined
    if (!isOver(child)) {
      const ended = once(child, 'exit')
      child.kill('SIGCONT')
      child.kill(signal)
      await ended
    }
    child.stdout?.destroy()
    child.stderr?.destroy()
  }
}

function isOver(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

function isStopped(pid: number): boolean {
  return /\) T /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
}
