/**
 * What SASL (RFC 4422) is made of here: an exchange takes what the client said and answers with a
 * challenge, a success or a failure. RFC 6120 §6 and XEP-0388 are two ways to write that as XML, and
 * neither knows what a mechanism does.
 */

/** RFC 6120 §6.5. */
export const saslConditions = [
  'aborted', 'account-disabled', 'credentials-expired', 'encryption-required', 'incorrect-encoding',
  'invalid-authzid', 'invalid-mechanism', 'malformed-request', 'mechanism-too-weak', 'not-authorized',
  'temporary-auth-failure',
] as const
export type SaslCondition = typeof saslConditions[number]

export interface SaslFailure {
  readonly ok: false
  readonly condition: SaslCondition
  /** For people. */
  readonly text?: string
}

export function refused(condition: SaslCondition, text?: string): SaslFailure {
  return { ok: false, condition, ...text === undefined ? {} : { text } }
}

/** Who proved what. */
export interface Proven {
  readonly account: LoginAccount
  /** The app password behind it, also where a token stood in for it. */
  readonly passwordId: string
  readonly mechanism: string
  /** XEP-0484: the token is past its first day, so the client gets another. */
  readonly isTokenDue?: boolean
}

/** Somebody with an address at our domain, as far as logging in needs it. */
export interface LoginAccount {
  /** Names its records; stays when the address changes. */
  readonly id: string
  /** Prepared local part. */
  readonly local: string
}

export type SaslStep =
  | { readonly type: 'challenge', readonly data: Uint8Array }
  | { readonly type: 'success', readonly data?: Uint8Array, readonly proven: Proven }
  | { readonly type: 'failure', readonly failure: SaslFailure }

/** One attempt. `step` is called with what the client sent, and not again before it settled. */
export interface SaslExchange {
  step(data: Uint8Array): Promise<SaslStep>
}

/** What ties a login to the TLS connection it came over, by type (RFC 9266, RFC 5929). */
export interface ChannelBindings {
  /** Announced (XEP-0440), the strongest first; empty where there is no TLS, or a proxy ended it. */
  readonly types: readonly string[]
  /** Also of a type that is taken and not announced. */
  data(type: string): Uint8Array | undefined
}

export const noChannelBindings: ChannelBindings = { types: [], data: () => undefined }

const base64Form = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Strict (RFC 4648 §4): `undefined` for anything else. */
export function decodeBase64(text: string): Uint8Array | undefined {
  return base64Form.test(text) ? new Uint8Array(Buffer.from(text, 'base64')) : undefined
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
