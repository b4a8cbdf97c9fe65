/**
 * The server's half of SCRAM (RFC 5802, RFC 7677), without a socket, a store or a clock.
 *
 * ```text
 *   client   n,,n=alice,r=C                      p=tls-exporter,,n=alice,r=C    (-PLUS)
 *   server   r=CS,s=salt,i=10000
 *   client   c=biws,r=CS,p=proof                 c = base64(gs2 header + channel binding)
 *   server   v=signature
 * ```
 *
 * An account has several app passwords, and a client does not say which one it was given. All of
 * them share salt and count, so the challenge fits each, and the proof is tried against each: two
 * HMACs and a hash for one.
 */
import { createHash, createHmac, pbkdf2 } from 'node:crypto'
import { equalBytes, utf8, utf8Decode } from '../../../crypto/bytes.ts'
import { decodeBase64, encodeBase64, refused } from './sasl.ts'
import type { ChannelBindings, SaslFailure } from './sasl.ts'

export type ScramHash = 'SHA-1' | 'SHA-256'

/** What the server keeps of a password (RFC 5802 §3): enough to check a proof, not to make one. */
export interface ScramKeys {
  readonly storedKey: Uint8Array
  readonly serverKey: Uint8Array
}

export interface ScramSalt {
  readonly salt: Uint8Array
  readonly iterations: number
}

const nodeNames = { 'SHA-1': 'sha1', 'SHA-256': 'sha256' } as const

/** In the thread pool: the loop is not held up by it. `password` is prepared (RFC 8265). */
export function scramKeys(
  hash: ScramHash,
  password: string,
  { salt, iterations }: ScramSalt,
): Promise<ScramKeys> {
  const name = nodeNames[hash]
  const length = hash === 'SHA-1' ? 20 : 32
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, iterations, length, name, (error, salted) => {
      if (error !== null) {
        reject(error)
        return
      }
      const clientKey = hmac(hash, salted, 'Client Key')
      resolve({ storedKey: digest(hash, clientKey), serverKey: hmac(hash, salted, 'Server Key') })
      salted.fill(0)
      clientKey.fill(0)
    })
  })
}

export interface ScramServerOptions {
  readonly hash: ScramHash
  /** The mechanism is a -PLUS. */
  readonly isPlus: boolean
  /** The client was offered a -PLUS: then `y` means that somebody between took it away. */
  readonly isPlusOffered: boolean
  readonly bindings: ChannelBindings
  /** Printable, without a comma; at least 128 bit of it random. */
  readonly serverNonce: string
}

export type ScramFirst =
  | { readonly ok: true, readonly username: string, readonly authzid: string }
  | SaslFailure

export type ScramFinal = { readonly ok: true, readonly proof: ScramProof } | SaslFailure

/** gs2-header, then client-first-message-bare; an `m=` before the name would be an extension to refuse. */
const firstMessage = /^(([nyp])(?:=([A-Za-z0-9.-]+))?,(?:a=([^,]*))?,)(n=([^,]+),r=([!-+--~]+)(?:,.*)?)$/su
const finalMessage = /^(c=([^,]+),r=([^,]+)(?:,(?!p=)[^,]*)*),p=([^,]+)$/su

/** One exchange: `first`, `challenge`, `final`, in this order. */
export class ScramServer {
  readonly #options: ScramServerOptions
  #gs2Header = ''
  #binding: Uint8Array = new Uint8Array(0)
  #clientFirstBare = ''
  #nonce = ''
  #serverFirst = ''

  constructor(options: ScramServerOptions) {
    this.#options = options
  }

  first(data: Uint8Array): ScramFirst {
    const text = textOf(data)
    const parts = firstMessage.exec(text ?? '')
    if (parts === null) return refused('malformed-request', 'this is no first message of SCRAM')
    const [, header, flag, type, authzid = '', bare, name, nonce] = parts
    const username = saslName(name!)
    const identity = saslName(authzid)
    if (username === undefined || identity === undefined || (flag === 'p') !== (type !== undefined)) {
      return refused('malformed-request', 'this is no first message of SCRAM')
    }
    const failure = this.#bind(flag!, type)
    if (failure !== undefined) return failure
    this.#gs2Header = header!
    this.#clientFirstBare = bare!
    this.#nonce = `${nonce!}${this.#options.serverNonce}`
    return { ok: true, username, authzid: identity }
  }

  #bind(flag: string, type: string | undefined): SaslFailure | undefined {
    const { isPlus, isPlusOffered, bindings } = this.#options
    if (flag === 'y' && isPlusOffered) {
      const text = 'your client saw no offer of channel binding, though there was one: somebody changed it'
      return refused('not-authorized', text)
    }
    if ((flag === 'p') !== isPlus) {
      return refused('malformed-request', 'channel binding goes with -PLUS alone')
    }
    if (type === undefined) return undefined
    const data = bindings.data(type)
    if (data === undefined) return refused('not-authorized', `channel binding ${type} is not offered here`)
    this.#binding = data
    return undefined
  }

  challenge({ salt, iterations }: ScramSalt): Uint8Array {
    this.#serverFirst = `r=${this.#nonce},s=${encodeBase64(salt)},i=${iterations}`
    return utf8(this.#serverFirst)
  }

  final(data: Uint8Array): ScramFinal {
    const text = textOf(data)
    const parts = finalMessage.exec(text ?? '')
    const binding = decodeBase64(parts?.[2] ?? '-')
    const proof = decodeBase64(parts?.[4] ?? '-')
    const { hash } = this.#options
    if (parts === null || binding === undefined || proof?.length !== (hash === 'SHA-1' ? 20 : 32)) {
      return refused('malformed-request', 'this is no final message of SCRAM')
    }
    const expected = Buffer.concat([utf8(this.#gs2Header), this.#binding])
    if (!equalBytes(binding, expected)) {
      return refused('not-authorized', 'the channel binding is that of another connection')
    }
    if (!equalBytes(utf8(parts[3]!), utf8(this.#nonce))) return refused('not-authorized')
    const authMessage = `${this.#clientFirstBare},${this.#serverFirst},${parts[1]!}`
    return { ok: true, proof: new ScramProof({ hash, authMessage, proof }) }
  }
}

/** What a client claims; each app password of the account is asked in turn. */
export class ScramProof {
  readonly #hash: ScramHash
  readonly #authMessage: string
  readonly #proof: Uint8Array

  constructor({ hash, authMessage, proof }: { hash: ScramHash, authMessage: string, proof: Uint8Array }) {
    this.#hash = hash
    this.#authMessage = authMessage
    this.#proof = proof
  }

  matches({ storedKey }: ScramKeys): boolean {
    const clientKey = hmac(this.#hash, storedKey, this.#authMessage)
    for (let i = 0; i < clientKey.length; i++) clientKey[i]! ^= this.#proof[i]!
    return equalBytes(digest(this.#hash, clientKey), storedKey)
  }

  /** `v=…`: the client sees that the server knows it, too. */
  serverFinal({ serverKey }: ScramKeys): Uint8Array {
    return utf8(`v=${encodeBase64(hmac(this.#hash, serverKey, this.#authMessage))}`)
  }
}

/** RFC 5802 §5.1: comma and equals sign are written `=2C` and `=3D`, and no other `=` may stand. */
function saslName(text: string): string | undefined {
  if (/=(?!2C|3D)/.test(text)) return undefined
  return text.replaceAll('=2C', ',').replaceAll('=3D', '=')
}

function textOf(data: Uint8Array): string | undefined {
  try {
    const text = utf8Decode(data)
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

function hmac(hash: ScramHash, key: Uint8Array, text: string): Buffer {
  return createHmac(nodeNames[hash], key).update(text).digest()
}

function digest(hash: ScramHash, data: Uint8Array): Buffer {
  return createHash(nodeNames[hash]).update(data).digest()
}
