/**
 * The servers of the XMPP bench, each private, on one processor where `taskset` is there, and seen from
 * outside alone: CPU time and memory are the kernel's figures (proc(5)), so that a server in C, Lua or
 * Erlang is counted as ours is.
 */
import { execFileSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { findProgram, needFile } from '../helpers/debian.ts'
import { hasEjabberd, startEjabberd } from '../helpers/ejabberd-server.ts'
import { hasProsody, startProsody } from '../helpers/prosody-server.ts'
import { XmppChild } from '../helpers/xmpp-child.ts'
import type { XmppChildOptions } from '../helpers/xmpp-child.ts'
import type { XmppGround, XmppServer, XmppServerOptions } from '../helpers/xmpp-server.ts'
import { loadPassword } from './xmpp-load-client.ts'
import type { LoadTarget } from './xmpp-load-client.ts'

/** USER_HZ of the kernel's answers: 100 on every architecture that Debian has. */
const tickMicroseconds = 10_000
/** Accounts of each role. */
export const loadAccounts = 50

export interface Contender extends LoadTarget {
  readonly pid: number
  /** Makes garbage go where that can be asked for. */
  tidy(): Promise<void>
  stop(): Promise<void>
}

export interface ContenderOptions extends Pick<XmppServerOptions, 'extra' | 'hasArchive'> {
  readonly domain: string
}

export interface OurOptions extends XmppChildOptions {
  readonly domain: string
  /** Of each role; `loadAccounts` when left out. */
  readonly accounts?: number
}

export async function startOurs({ accounts = loadAccounts, ...options }: OurOptions): Promise<Contender> {
  const child = await XmppChild.start(accounts, options)
  const { pid, ports } = child
  pin(pid, 0)
  return {
    domain: options.domain, port: ports.tls, pid,
    tidy: async () => { await child.cost() },
    stop: () => child.stop(),
  }
}

/** `undefined`: not installed. */
export async function startOther(
  kind: 'prosody' | 'ejabberd', ground: XmppGround, options: ContenderOptions,
): Promise<Contender | undefined> {
  if (kind === 'prosody' ? !hasProsody : !hasEjabberd) return undefined
  const accounts = Object.fromEntries(['a', 'b'].flatMap((role) =>
    Array.from({ length: loadAccounts }, (_, i) => [`load${role}${i}`, loadPassword])))
  const start = kind === 'prosody' ? startProsody : startEjabberd
  const server: XmppServer = await start(ground, { ...options, accounts, isQuiet: true })
  pin(server.pid, 0)
  return {
    domain: options.domain, port: server.ports.c2sTls, pid: server.pid,
    tidy: () => Promise.resolve(),
    stop: () => server.remove(),
  }
}

/**
 * Prosody's configuration for SQLite, but for the accounts, which tests write as files. `undefined`: its
 * driver cannot be had.
 */
export async function prosodyOnSqlite(): Promise<string | undefined> {
  const driver = await needFile('/usr/lib/*/lua/*/dbd/sqlite3.so', 'lua-dbi-sqlite3')
  return driver === undefined
    ? undefined
    : `storage = { accounts = "internal" }
    default_storage = "sql"
    sql = { driver = "SQLite3", database = "prosody.sqlite" }`
}

const taskset = findProgram('taskset')
const processors = globSync('/sys/devices/system/cpu/cpu[0-9]*').length

/** All its threads. Servers on 0, load on 1. */
export function pin(pid: number, processor: number): void {
  if (taskset === undefined || processors < 2) return
  execFileSync(taskset, ['-acp', String(processor), String(pid)], { stdio: 'ignore' })
}

/** Of all its threads, in µs. */
export function cpuOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // What follows the name begins with field 3; `utime` and `stime` are 14 and 15.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tickMicroseconds
}

/** Resident, in megabytes. */
export function memoryOf(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1_024 / 1_000_000
}
