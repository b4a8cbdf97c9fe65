/**
 * The one error class of openIM, in the lowest layer so that everything may throw it.
 *
 * Callers match on `code`, never on the class or the text. The table of codes (meaning, blame and
 * the conditions other protocols see) is `protocol/errors.ts`; `docs/errors.md` lists them for
 * people. A message is one lower-case sentence with the value received and the limit, then the
 * cure; it never holds secret material.
 */

export type ErrorDetails = Readonly<Record<string, string | number | boolean>>

export interface OpenIMErrorOptions {
  cause?: unknown
  /** Plain values for logs and `--json`; never secrets. */
  details?: ErrorDetails
}

export class OpenIMError extends Error {
  override readonly name = 'OpenIMError'
  /** Stable, upper-case, `AREA_REASON`. */
  readonly code: string
  readonly details: ErrorDetails

  constructor(code: string, message: string, options: OpenIMErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
  }
}

/** The `code` of anything thrown; `undefined` when it is not one of ours or Node's. */
export function errorCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/**
 * Holds an invariant of our own code. It stays on in production: a broken invariant is a bug and
 * must not go on to write.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new OpenIMError('BUG_ASSERTION', `assertion failed: ${message}`)
}

/** An expected refusal (from the network, or of user input) is a result, not a throw. */
export type Result<T> =
  | { readonly ok: true, readonly value: T }
  | { readonly ok: false, readonly code: string, readonly detail?: string }
