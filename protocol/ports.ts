/**
 * Ports that the browser-clean layers need from their surroundings: time and durable key-value
 * storage. (`Random` lives in crypto/random.ts.) Each has a real and an in-memory implementation,
 * and one compliance suite in test/compliance/ that both must pass.
 */

export interface Timer {
  /** Idempotent; the callback does not run afterwards. */
  cancel(): void
}

/** All time of openIM. The simulation moves it by hand. */
export interface Clock {
  /** Wall clock, milliseconds since 1970-01-01 UTC. May jump. */
  now(): number
  /** Milliseconds since some fixed moment; never goes back. For durations and time-outs. */
  monotonicMs(): number
  /** Runs `callback` once, `delayMs` ≥ 0 from now. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer
}

/** One change of an atomic batch. */
export type KvOperation =
  | KvPut
  | { readonly type: 'delete', readonly key: string }
  /** The batch is refused unless the key has exactly this version; 0 means absent. */
  | { readonly type: 'check', readonly key: string, readonly version: number }

export interface KvPut {
  readonly type: 'put'
  readonly key: string
  readonly value: Uint8Array
  /**
   * From then on it is absent for `get`, `list` and `check`, by the clock of whoever asks, and
   * `expire` removes it. Milliseconds since 1970; for ever when left out, also when the key ended before.
   */
  readonly expiresAtMs?: number
}

export interface KvEntry {
  readonly key: string
  readonly value: Uint8Array
  /** Positive; grows by every put of this key (it may start anew after a delete). */
  readonly version: number
  /** Infinity: for ever. */
  readonly expiresAtMs: number
}

export interface KvRange {
  readonly prefix: string
  /** Exclusive: entries after this key (before it when `reverse`). */
  readonly after?: string
  readonly limit?: number
  readonly reverse?: boolean
}

/**
 * Small records with compare-and-set: identity, contacts, sessions, history, outbox.
 *
 * Keys are non-empty strings of at most 256 UTF-8 bytes, ordered by code unit (use ASCII);
 * values at most 1 MiB, copied on both ways.
 */
export interface KvStore {
  get(key: string): Promise<KvEntry | undefined>
  list(range: KvRange): Promise<KvEntry[]>
  /**
   * All or nothing, and durable (synced) when it settles with true; false when a `check` failed.
   * Concurrent writes are grouped into one synced commit and keep their call order.
   * @throws STORE_FULL when the disk has no room, STORE_CLOSED after close
   */
  write(operations: readonly KvOperation[]): Promise<boolean>
  /** Removes up to `budget` (at least 1) entries that have expired; returns how many went. */
  expire(nowMs: number, budget: number): Promise<number>
}

/**
 * A private, ordered pipe of messages between a device and its node: what a connector makes of a
 * socket after the Noise handshake. The session above it numbers and resumes; a link only lives
 * as long as its transport.
 */
export interface MessageLink {
  /** `tcp`, `loopback`, … for people and metrics. */
  readonly transport: string
  /** Queues one message of at most `limits.frameBytesMax` bytes; ignored once closed. */
  send(message: Uint8Array): void
  /** Bytes queued and not yet taken by the transport; senders stop above a high-water mark. */
  readonly bufferedBytes: number
  /** Asks the peer's sender to wait (back-pressure); undone by `resume`. */
  pause(): void
  resume(): void
  /** Orderly: what is queued still leaves. Idempotent. `code` is for logs. */
  close(code: string): void
  /** Set once, before any message can arrive (messages wait until it is set). */
  listen(listener: MessageLinkListener): void
}

export interface MessageLinkListener {
  message(message: Uint8Array): void
  /** `bufferedBytes` fell below the low-water mark. */
  drain(): void
  /** Last call. `code` is `LINK_CLOSED` for an orderly end. */
  closed(code: string): void
}
