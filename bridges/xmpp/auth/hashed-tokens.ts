/**
 * Tokens of XEP-0484 (FAST) and the HT mechanisms of draft-schmaus-kitten-sasl-ht that they log in by,
 * in one message each way:
 *
 * ```text
 *   client   username NUL HMAC-SHA-256(token, "Initiator" + channel binding)
 *   server   HMAC-SHA-256(token, "Responder" + channel binding)
 *
 *   fast/ACCOUNT/CLIENT   current and newer token of this client; CLIENT hashes the id it gives itself
 * ```
 *
 * A token works with one mechanism alone. Of one without channel binding both messages are known when it
 * is made, so a hash of the client's and the answer are kept, which log nobody in. With channel binding
 * the token is the key of an HMAC over what only the connection knows, and must be kept as it is
 * (docs/threats.md); the store seals it.
 *
 * There is no TLS early data, so a login cannot be replayed without the keys of its connection; the
 * counter is held all the same where a client counts.
 */
import { createHash, createHmac } from 'node:crypto'
import { equalBytes, hex, utf8 } from '../../../crypto/bytes.ts'
import type { Random } from '../../../crypto/random.ts'
import { decode, encode, opaque, optional, struct, text, u64 } from '../../../protocol/codec/struct.ts'
import { kvEntries } from '../../../protocol/kv.ts'
import type { Clock, KvEntry, KvStore } from '../../../protocol/ports.ts'
import { xmppLimits } from '../limits.ts'
import { encodeBase64, refused } from './sasl.ts'
import type { ChannelBindings, SaslFailure } from './sasl.ts'

/** By mechanism: the channel binding it takes. Strongest first. */
const bindingOf: Readonly<Record<string, string | undefined>> = {
  'HT-SHA-256-EXPR': 'tls-exporter',
  'HT-SHA-256-ENDP': 'tls-server-end-point',
  'HT-SHA-256-NONE': undefined,
}

export const unboundTokenMechanism = 'HT-SHA-256-NONE'
const tokenBytes = 32

interface Token {
  readonly mechanism: string
  /** The app password that the client logged in with when it got its first one. */
  readonly passwordId: string
  /** With channel binding: the token. Otherwise empty. */
  readonly key: Uint8Array
  /** Without: SHA-256 of the client's message, and ours. Otherwise empty. */
  readonly initiatorHash: Uint8Array
  readonly responder: Uint8Array
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** The highest `count` seen; 0 when the client does not count. */
  readonly count: number
}

interface TokenRecord {
  readonly current: Token | undefined
  /** Issued and not used yet. */
  readonly newer: Token | undefined
}

const tokenCodec = struct<Token>({
  mechanism: text(32), passwordId: text(16),
  key: opaque(64), initiatorHash: opaque(32), responder: opaque(32),
  issuedAtMs: u64, expiresAtMs: u64, count: u64,
})
const recordCodec = struct<TokenRecord>({ current: optional(tokenCodec), newer: optional(tokenCodec) })

/** What a client says beside its message (XEP-0484 §3.4, §3.6). */
export interface TokenUse {
  /** How the client names itself (XEP-0388 `<user-agent id>`). */
  readonly clientId: string
  readonly count?: number
  readonly invalidate: boolean
}

export interface IssuedToken {
  readonly token: string
  readonly expiresAtMs: number
}

export interface TokenAccepted {
  readonly ok: true
  readonly passwordId: string
  readonly responder: Uint8Array
  /** Old enough that the client gets another. */
  readonly isDue: boolean
}

export class HashedTokens {
  readonly #components: { readonly kv: KvStore, readonly clock: Clock, readonly random: Random }

  constructor(components: { kv: KvStore, clock: Clock, random: Random }) {
    this.#components = components
  }

  /** Offered on a connection with these channel bindings. */
  mechanisms({ types }: ChannelBindings): string[] {
    return Object.entries(bindingOf)
      .filter(([, binding]) => binding === undefined || types.includes(binding))
      .map(([mechanism]) => mechanism)
  }

  /** The client was authenticated; what it had before works until this one is used. */
  async issue(
    accountId: string,
    { clientId, mechanism, passwordId }: {
      readonly clientId: string, readonly mechanism: string, readonly passwordId: string
    },
  ): Promise<IssuedToken> {
    const { kv, clock, random } = this.#components
    const plain = encodeBase64(random.bytes(tokenBytes))
    const issuedAtMs = clock.now()
    const expiresAtMs = issuedAtMs + xmppLimits.tokenMs
    const newer: Token = {
      mechanism, passwordId, issuedAtMs, expiresAtMs, count: 0, ...keptOf(mechanism, plain),
    }
    const key = keyOf(accountId, clientId)
    await this.#makeRoom(accountId, key)
    const known = await kv.get(key)
    const current = known === undefined ? undefined : decode(recordCodec, known.value).current
    await kv.write([{ type: 'put', key, value: encode(recordCodec, { current, newer }), expiresAtMs }])
    return { token: plain, expiresAtMs }
  }

  async login(
    accountId: string,
    { mechanism, message, bindings, use }: {
      readonly mechanism: string
      /** The client's, without its name. */
      readonly message: Uint8Array
      readonly bindings: ChannelBindings
      readonly use: TokenUse
    },
  ): Promise<TokenAccepted | SaslFailure> {
    const { kv, clock } = this.#components
    const type = bindingOf[mechanism]
    const binding = type === undefined ? new Uint8Array(0) : bindings.data(type)
    const entry = await kv.get(keyOf(accountId, use.clientId))
    if (entry === undefined || binding === undefined) return refused('not-authorized')
    const record = decode(recordCodec, entry.value)
    const slot = (['newer', 'current'] as const)
      .find((name) => isMessageOf(record[name], { mechanism, message, binding }))
    if (slot === undefined) return refused('not-authorized')
    const token = record[slot]!
    if (token.expiresAtMs <= clock.now()) return refused('credentials-expired', 'the token has expired')
    if (use.count !== undefined && use.count <= token.count) {
      return refused('not-authorized', 'this login was seen before')
    }
    const isKept = await this.#used(entry, { record, slot, use })
    // Somebody else logged in by it at this very moment: the counter must be looked at again.
    if (!isKept) return refused('temporary-auth-failure', 'this client logged in twice at a time; try again')
    const isDue = clock.now() - token.issuedAtMs >= xmppLimits.tokenRotateMs && !use.invalidate
    return { ok: true, passwordId: token.passwordId, responder: responderOf(token, binding), isDue }
  }

  /** Of one app password, or of all. */
  async revoke(accountId: string, passwordId?: string): Promise<void> {
    const { kv } = this.#components
    for await (const { key, value } of kvEntries(kv, `fast/${accountId}/`)) {
      const { current, newer } = decode(recordCodec, value)
      const passwords = [current?.passwordId, newer?.passwordId]
      const isOf = passwordId === undefined || passwords.includes(passwordId)
      if (isOf) await kv.write([{ type: 'delete', key }])
    }
  }

  /** Writes what the use of a token changes, if anything. False: it changed meanwhile. */
  #used(
    { key, version }: KvEntry,
    { record, slot, use }: {
      readonly record: TokenRecord, readonly slot: 'newer' | 'current', readonly use: TokenUse
    },
  ): Promise<boolean> {
    const { kv } = this.#components
    const check = { type: 'check', key, version } as const
    if (use.invalidate) return kv.write([check, { type: 'delete', key }])
    if (slot === 'current' && use.count === undefined) return Promise.resolve(true)
    const token = record[slot]!
    const current = { ...token, count: use.count ?? token.count }
    // The first use of a newer one ends the older (XEP-0484 §3.5).
    const newer = slot === 'newer' ? undefined : record.newer
    const expiresAtMs = (newer ?? current).expiresAtMs
    const value = encode(recordCodec, { current, newer })
    return kv.write([check, { type: 'put', key, value, expiresAtMs }])
  }

  /** A client that makes itself a new name at each login does not fill the store. */
  async #makeRoom(accountId: string, key: string): Promise<void> {
    const { kv } = this.#components
    const known = await kv.list({ prefix: `fast/${accountId}/`, limit: xmppLimits.tokenClientsMax })
    if (known.length < xmppLimits.tokenClientsMax || known.some((entry) => entry.key === key)) return
    const [oldest] = known.toSorted((a, b) => a.expiresAtMs - b.expiresAtMs)
    await kv.write([{ type: 'delete', key: oldest!.key }])
  }
}

function keyOf(accountId: string, clientId: string): string {
  return `fast/${accountId}/${hex(createHash('sha256').update(utf8(clientId)).digest().subarray(0, 16))}`
}

function keptOf(mechanism: string, plain: string): Pick<Token, 'key' | 'initiatorHash' | 'responder'> {
  const empty = new Uint8Array(0)
  const key = utf8(plain)
  if (bindingOf[mechanism] !== undefined) return { key, initiatorHash: empty, responder: empty }
  return {
    key: empty,
    initiatorHash: sha256(hmac(key, 'Initiator', empty)),
    responder: hmac(key, 'Responder', empty),
  }
}

function isMessageOf(
  token: Token | undefined,
  { mechanism, message, binding }: {
    readonly mechanism: string, readonly message: Uint8Array, readonly binding: Uint8Array
  },
): boolean {
  if (token?.mechanism !== mechanism) return false
  return token.key.length === 0
    ? equalBytes(sha256(message), token.initiatorHash)
    : equalBytes(message, hmac(token.key, 'Initiator', binding))
}

function responderOf(token: Token, binding: Uint8Array): Uint8Array {
  return token.key.length === 0 ? token.responder : hmac(token.key, 'Responder', binding)
}

function hmac(key: Uint8Array, label: string, binding: Uint8Array): Uint8Array {
  return createHmac('sha256', key).update(label).update(binding).digest()
}

function sha256(data: Uint8Array): Uint8Array {
  return createHash('sha256').update(data).digest()
}
