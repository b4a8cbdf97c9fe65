/**
 * Slow disks and power cuts for real processes: a small library (sync-shim.c), built with the
 * machine's compiler and preloaded into a store's process or its database server.
 *
 * A power cut is played on what is left after kill −9: each file is cut back to the length it had
 * when it was last synced, and to nothing if it never was. Names are kept, as a journalling file
 * system orders them.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import {
  appendFile, chmod, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needProgram } from './debian.ts'

const source = new URL('./sync-shim.c', import.meta.url).pathname
const controlBytes = 16

/** The library, or why there is none. */
async function build(): Promise<{ library: string } | { missing: string }> {
  if (process.platform !== 'linux') return { missing: 'preloading is done on Linux alone' }
  const compiler = await needProgram('gcc', 'gcc')
  if (compiler === undefined) return { missing: 'gcc is not installed' }
  const folder = mkdtempSync(join(tmpdir(), 'openim-shim-'))
  process.on('exit', () => { rmSync(folder, { recursive: true, force: true }) })
  const library = join(folder, 'sync-shim.so')
  try {
    const args = ['-shared', '-fPIC', '-O1', '-Wall', '-o', library, source, '-ldl']
    execFileSync(compiler, args, { stdio: 'pipe' })
    // Servers run as somebody else.
    await chmod(folder, 0o755)
    return { library }
  } catch (error) {
    return { missing: `gcc built no library: ${String(error).slice(0, 200)}` }
  }
}

const built = await build()
export const shimMissing = 'missing' in built ? built.missing : undefined

export class SyncShim {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async open(): Promise<SyncShim> {
    const folder = await mkdtemp(join(tmpdir(), 'openim-sync-'))
    const shim = new SyncShim(folder)
    await chmod(folder, 0o755)
    await writeFile(shim.#control, new Uint8Array(controlBytes))
    await writeFile(shim.#record, '')
    for (const path of [shim.#control, shim.#record]) await chmod(path, 0o666)
    return shim
  }

  get #control(): string {
    return join(this.#folder, 'control')
  }

  get #record(): string {
    return join(this.#folder, 'record')
  }

  /** Of the process that is to be slow, or whose power is to fail. */
  get env(): Record<string, string> {
    if ('missing' in built) throw new Error(built.missing)
    return { LD_PRELOAD: built.library, OPENIM_SYNC_CONTROL: this.#control, OPENIM_SYNC_RECORD: this.#record }
  }

  /** From now on, in all processes that have it. */
  async delay(ms: number): Promise<void> {
    const file = await open(this.#control, 'r+')
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, ms * 1_000, true)
    await file.write(bytes, 0, 4, 0)
    await file.close()
  }

  async syncs(): Promise<number> {
    const bytes = await readFile(this.#control)
    return Number(bytes.readBigUInt64LE(8))
  }

  /** All that lies below a folder now counts as synced. */
  async settle(folder: string): Promise<void> {
    const lines = (await filesBelow(folder)).map(({ file, bytes }) => `${file} ${bytes}\n`)
    await appendFile(this.#record, lines.join(''))
  }

  /** Cuts all files below a folder back to what was synced; returns how many bytes went. */
  async cutPower(folder: string): Promise<number> {
    const synced = new Map<string, number>()
    for (const line of (await readFile(this.#record, 'latin1')).split('\n')) {
      const end = line.lastIndexOf(' ')
      if (end > 0) synced.set(line.slice(0, end), Number(line.slice(end + 1)))
    }
    let gone = 0
    for (const { path, file, bytes } of await filesBelow(folder)) {
      const kept = Math.min(bytes, synced.get(file) ?? 0)
      gone += bytes - kept
      if (kept < bytes) await truncate(path, kept)
    }
    return gone
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true })
  }
}

/** `file` stays with a file that gets another name, and is not given to another one later. */
async function filesBelow(folder: string): Promise<{ path: string, file: string, bytes: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return await Promise.all(entries.filter((entry) => entry.isFile()).map(async (entry) => {
    const path = join(entry.parentPath, entry.name)
    const { ino, birthtimeNs, size } = await stat(path, { bigint: true })
    return { path, file: `${ino} ${birthtimeNs}`, bytes: Number(size) }
  }))
}
