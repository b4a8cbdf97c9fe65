/**
 * The data directory: one node, one directory, mode 0700.
 *
 * ```text
 *   keys.bin       0600  the node's and the account's secrets (keys-file.ts)
 *   home.json      0600  a linked device's: where its node is (home-file.ts)
 *   config.toml          settings, when the directory was named with --data
 *   store/, peers/       the databases: ours, and what the overlay remembers of peers
 *   node.lock      0600  who runs here: { pid, startedTicks }
 *   control.sock   0600  the CLI's door, or control.path where it stands instead
 *   reports/             reports of unexpected errors
 *   restoring/           a backup on its way in; afterwards gone
 *   joining/             the same of an account that this device is linked to
 * ```
 *
 * Two nodes on one directory would both write the ratchets of the same account, so the second is
 * refused. The lock is a file that names its process, because a person wants to read *which* one;
 * a process that is gone, or whose id was given to another one since, holds nothing. The database
 * has a lock of its own underneath, which the kernel drops with the process.
 */
import { chmod, link, lstat, mkdir, open, readdir, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hex } from '../crypto/bytes.ts'
import { errorCode, OpenIMError } from '../crypto/errors.ts'
import { systemRandom } from '../crypto/random.ts'

export const dataFiles = {
  keys: 'keys.bin',
  home: 'home.json',
  config: 'config.toml',
  store: 'store',
  lock: 'node.lock',
  socket: 'control.sock',
  socketPath: 'control.path',
  reports: 'reports',
  restoring: 'restoring',
  joining: 'joining',
} as const

/** What may stand in a directory that is to become a data directory. */
const harmless = new Set<string>([...Object.values(dataFiles), 'lost+found'])

/**
 * Creates the directory if there is none, and closes it to others.
 * @throws DATA_DIR_FOREIGN, DATA_DIR_ACCESS, DATA_DIR_IO, STORE_FULL
 */
export async function ensureDataDir(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const entries = await readdir(dir)
    const foreign = entries.find((entry) => !harmless.has(entry) && !isLeftover(entry))
    // With keys in it, it is ours, whatever a later openIM keeps here.
    if (foreign !== undefined && !entries.includes(dataFiles.keys)) {
      throw new OpenIMError('DATA_DIR_FOREIGN', `${dir} holds other files (${foreign})`)
    }
    await chmod(dir, 0o700)
  } catch (cause) {
    throw fileError(cause, dir)
  }
}

/** Our own half-written files of an interrupted write. */
function isLeftover(entry: string): boolean {
  return /\.(tmp|stale)-[0-9a-f]+$/.test(entry)
}

/** Whether others can look into the directory or at the keys; for `doctor`. */
export async function openToOthers(path: string): Promise<boolean> {
  return ((await stat(path)).mode & 0o077) !== 0
}

const ioProblems = {
  ENOENT: 'does not exist',
  EEXIST: 'is no directory',
  ENOTDIR: 'lies in something that is no directory',
} as const

/** Codes for what a file system answers; our own errors pass through. */
export function fileError(cause: unknown, path: string): OpenIMError {
  if (cause instanceof OpenIMError) return cause
  const code = errorCode(cause)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new OpenIMError('STORE_FULL', `no room left on the disk of ${path}`, { cause })
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new OpenIMError('DATA_DIR_ACCESS', `no permission to use ${path} (${code})`, { cause })
  }
  const what = ioProblems[code as keyof typeof ioProblems] ?? `cannot be used (${code ?? String(cause)})`
  return new OpenIMError('DATA_DIR_IO', `${path} ${what}`, { cause })
}

/** Temporary file, fsync, rename, fsync of the directory: the old content or the new one, never half. */
export async function writeFileAtomic(path: string, bytes: Uint8Array, mode: number): Promise<void> {
  const temporary = `${path}.tmp-${hex(systemRandom.bytes(6))}`
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      await file.writeFile(bytes)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncDir(dirname(path))
  } catch (cause) {
    await unlink(temporary).catch(() => {})
    throw fileError(cause, path)
  }
}

async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

// ── Lock ────────────────────────────────────────────────────────────────────────────────────

export interface DataDirLock {
  /** Idempotent. */
  release(): Promise<void>
}

interface LockHolder {
  readonly pid: number
  /** Start of the process in kernel ticks, where the system tells: pids come round again. */
  readonly startedTicks: string | null
}

/** @throws DATA_DIR_IN_USE with `pid` in the details; DATA_DIR_ACCESS, DATA_DIR_IO, STORE_FULL */
export async function lockDataDir(dir: string): Promise<DataDirLock> {
  const path = join(dir, dataFiles.lock)
  const suffix = hex(systemRandom.bytes(6))
  const own = `${path}.tmp-${suffix}`
  const me: LockHolder = { pid: process.pid, startedTicks: await startedTicks(process.pid) }
  const content = JSON.stringify(me)
  try {
    await writeNew(own, content)
    // `link` fails when the name exists and never shows a half-written file.
    while (!await linkNew(own, path)) await removeStaleLock(dir, path, `${path}.stale-${suffix}`)
    await sweepKeys(dir)
  } catch (cause) {
    throw fileError(cause, path)
  } finally {
    await unlink(own).catch(() => {})
  }
  let held = true
  return {
    async release() {
      if (!held) return
      held = false
      const now = await readFile(path, 'utf8').catch(() => '')
      if (now === content) await unlink(path).catch(() => {})
    },
  }
}

/** A write of the keys that was cut off may have left them lying open. Only with the lock in hand. */
async function sweepKeys(dir: string): Promise<void> {
  for (const entry of await readdir(dir)) {
    if (entry.startsWith(`${dataFiles.keys}.tmp-`) && isLeftover(entry)) await unlink(join(dir, entry))
  }
}

/** The pid of the node that runs in `dir`; undefined when none does. */
export async function runningPid(dir: string): Promise<number | undefined> {
  const text = await readFile(join(dir, dataFiles.lock), 'utf8').catch(() => '')
  const holder = parseHolder(text)
  return holder !== undefined && await isAlive(holder) ? holder.pid : undefined
}

async function removeStaleLock(dir: string, path: string, aside: string): Promise<void> {
  const text = await readFile(path, 'utf8').catch(absentAsEmpty)
  const holder = parseHolder(text)
  if (holder !== undefined && await isAlive(holder)) throw inUse(dir, holder.pid)
  try {
    await rename(path, aside)
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return
    throw cause
  }
  // Between reading and renaming another node may have taken the stale lock over: give it back.
  const moved = await readFile(aside, 'utf8').catch(() => '')
  if (moved !== text) await linkNew(aside, path)
  await unlink(aside).catch(() => {})
}

function inUse(dir: string, pid: number): OpenIMError {
  const details = { pid, dir }
  return new OpenIMError('DATA_DIR_IN_USE', `another openIM node (pid ${pid}) runs on ${dir}`, { details })
}

function absentAsEmpty(cause: unknown): string {
  if (errorCode(cause) === 'ENOENT') return ''
  throw cause
}

async function writeNew(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600)
  try {
    await file.writeFile(content)
  } finally {
    await file.close()
  }
}

async function linkNew(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') return false
    throw cause
  }
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    const value = JSON.parse(text) as Partial<LockHolder> | null
    if (!Number.isSafeInteger(value?.pid) || value!.pid! <= 0) return undefined
    return { pid: value!.pid!, startedTicks: value!.startedTicks ?? null }
  } catch {
    return undefined
  }
}

async function isAlive(holder: LockHolder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0)
  } catch (cause) {
    // EPERM: it lives, but belongs to somebody else.
    if (errorCode(cause) !== 'EPERM') return false
  }
  const ticks = await startedTicks(holder.pid)
  return ticks === null || holder.startedTicks === null || ticks === holder.startedTicks
}

/** Field 22 of /proc/PID/stat (proc_pid_stat(5)); null where there is no such file. */
async function startedTicks(pid: number): Promise<string | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The command name in field 2 may hold blanks and brackets: count from its end.
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null
}

// ── Sockets ─────────────────────────────────────────────────────────────────────────────────

/** sockaddr_un holds 104 bytes on macOS and 108 on Linux, with a zero at the end. */
export const socketPathBytesMax = 103

/** A directory of our own for a socket whose path would be too long; 0700, not a link, ours. */
export async function ensurePrivateDir(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (cause) {
    if (errorCode(cause) !== 'EEXIST') throw fileError(cause, path)
  }
  const found = await lstat(path)
  const ours = process.getuid === undefined || found.uid === process.getuid()
  if (!found.isDirectory() || !ours || (found.mode & 0o077) !== 0) {
    throw new OpenIMError('DATA_DIR_ACCESS', `${path} exists and is not ours alone`)
  }
}
