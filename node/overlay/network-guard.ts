/**
 * Keeps a failing connection from ending the node. libp2p streams throw from event listeners and
 * timers of their own when a stream closes at the wrong moment (`StreamStateError` after a drain
 * on a closing stream, and its like), where nobody can catch it: Node would end the process. The
 * guard accounts for exactly these errors and lets every other one end the process as before.
 *
 * Loads no libp2p: the errors are told by name and by where they came from.
 */
import type { Log } from '../ports.ts'

/** What a stream or connection throws because it, or its peer, went away. */
const connectionErrors: ReadonlySet<string> = new Set([
  'StreamStateError', 'StreamClosedError', 'StreamResetError', 'StreamAbortedError', 'StreamBufferError',
  'MuxerClosedError', 'MuxerUnavailableError', 'ConnectionClosedError', 'ConnectionClosingError',
  'UnexpectedEOFError', 'TimeoutError', 'AbortError', 'NotStartedError',
])
/** Socket errors of connections, by `code`. */
const socketErrors: ReadonlySet<string> = new Set([
  'ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN',
  'ERR_STREAM_WRITE_AFTER_END', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_SOCKET_CLOSED',
])
const libp2pFrames =
  /node_modules[\\/](@libp2p|@chainsafe|libp2p|it-[a-z-]+|p-event|race-signal|multicast-dns)[\\/]/

/** True for an error that a libp2p connection threw where nobody can catch it. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: unknown }
  if (!connectionErrors.has(error.name) && !(typeof code === 'string' && socketErrors.has(code))) return false
  const lines = (error.stack ?? '').split('\n')
  const frames = lines.filter((line) => /^\s+at /.test(line) && !line.includes('node:'))
  // A socket's own error has only frames of Node; anybody else's passes through their files.
  return frames.length === 0 || frames.some((line) => libp2pFrames.test(line))
}

export interface NetworkGuard {
  /** Errors accounted for so far. */
  readonly count: number
  uninstall(): void
}

/** Installs the guard for this process; the composition root does it once, before the overlay starts. */
export function installNetworkGuard(log: Log): NetworkGuard {
  let count = 0
  const onError = (error: unknown): void => {
    if (isConnectionError(error)) {
      count++
      const { name, message } = error as Error
      log.warn({ error: name, reason: message, count }, 'a connection failed outside of any call')
      return
    }
    // Without us Node would end the process; with us it must still do so.
    if (process.listenerCount('uncaughtException') === 1) {
      process.removeListener('uncaughtException', onError)
      throw error
    }
  }
  process.on('uncaughtException', onError)
  return {
    get count() { return count },
    uninstall: () => { process.removeListener('uncaughtException', onError) },
  }
}
