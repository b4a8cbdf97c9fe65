/**
 * What keeps this process alive, and what of it is new since an earlier look: servers, sockets,
 * timers, child processes, file watchers. The harness fails a suite that leaves any behind.
 */
import type { ChildProcess } from 'node:child_process'
import type { Server, Socket } from 'node:net'

// Node opens these on first use; open them now, so that a suite that logs is not blamed.
const standardStreams: ReadonlySet<unknown> = new Set([process.stdout, process.stderr])

const { setTimeout } = globalThis
const pollMs = 10

export interface Resources {
  /** How many of each type of `process.getActiveResourcesInfo()`. */
  readonly counts: ReadonlyMap<string, number>
  readonly handles: ReadonlySet<object>
}

export function resourcesNow(): Resources {
  const counts = new Map<string, number>()
  for (const type of process.getActiveResourcesInfo()) counts.set(type, (counts.get(type) ?? 0) + 1)
  return { counts, handles: new Set(activeHandles()) }
}

/** Waits up to `graceMs` for things to close; then names what is left, or gives an empty text. */
export async function leaksSince(earlier: Resources, graceMs: number): Promise<string> {
  const deadline = performance.now() + graceMs
  for (;;) {
    // Wait before the first look too: `listen` and `spawn` open their handles a turn later.
    await new Promise((resolve) => { setTimeout(resolve, pollMs) })
    const leaks = describe(earlier, resourcesNow())
    if (leaks === '' || performance.now() > deadline) return leaks
  }
}

function describe(earlier: Resources, now: Resources): string {
  const leaks: string[] = []
  for (const [type, count] of now.counts) {
    const more = count - (earlier.counts.get(type) ?? 0)
    if (more > 0) leaks.push(more === 1 ? type : `${more} × ${type}`)
  }
  if (leaks.length === 0) return ''
  const named = [...now.handles].filter((handle) => !earlier.handles.has(handle)).map(describeHandle)
  return named.length === 0 ? leaks.join(', ') : `${leaks.join(', ')} (${named.join('; ')})`
}

/** Undocumented by Node but long-lived; only for the names in a failure. */
function activeHandles(): object[] {
  const { _getActiveHandles: list } = process as unknown as { _getActiveHandles?: () => object[] }
  return (list?.call(process) ?? []).filter((handle) => !standardStreams.has(handle))
}

function describeHandle(handle: object): string {
  const kind = handle.constructor.name
  if (kind === 'ChildProcess') {
    const { spawnfile, pid } = handle as ChildProcess
    return `child process ${spawnfile}, pid ${pid}`
  }
  if (typeof (handle as Partial<Server>).address === 'function' && kind.endsWith('Server')) {
    return `${kind} on ${JSON.stringify((handle as Server).address())}`
  }
  if (kind.endsWith('Socket')) {
    const { localPort, remoteAddress, remotePort } = handle as Socket
    return `${kind} from port ${localPort} to ${remoteAddress}:${remotePort}`
  }
  return kind
}
